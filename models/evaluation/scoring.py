"""Scores every picture as it is, as each tier delivers it, and changed as the tests change it.

Threads take a few pictures at a time from file to scores, and keep nothing of a version but the crops that the model
looks at, so a folder of any size can be evaluated. Pictures that cannot be decoded are counted and left out, as the
worker would dead-letter them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from models.decode import Picture, decode
from models.evaluation.delivery import Tier, delivered
from models.evaluation.measures import Floats, Labels, Names, Scored
from models.evaluation.pictures import Collection, Item
from models.evaluation.slices import slices
from models.evaluation.transforms import FAILURE_MODES, METAMORPHIC
from models.ordered import in_order
from models.ports import Crops, Scorer
from stream.errors import ConfigurationError, ImageError, InferenceFailed

Advance = Callable[[int], None]

_TOGETHER = 16
_VERSIONS_TOGETHER = 64


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Every picture's scores.

    ``p`` holds a calibrated probability ``[n]`` for each tier, metamorphic test and failure mode by name (NaN where a
    failure mode does not apply; tests that were left out are missing), ``slices`` each picture's slices,
    ``unreadable`` counts what was left out by reason.
    """

    labels: Labels
    sources: Names
    p: Mapping[str, Floats]
    slices: Sequence[Mapping[str, str]]
    unreadable: Mapping[str, int]

    def scored(self, name: str) -> Scored:
        """The pictures with their scores of one kind."""
        return Scored(self.p[name], self.labels, self.sources)


class _Prepared(NamedTuple):
    """One picture on its way: the distinct crops of its versions, which version shows which, and what it is.

    ``failure`` is the reason why it could not be decoded, and then there is nothing else.
    """

    label: int
    source: str
    failure: str = ""
    slices: Mapping[str, str] = MappingProxyType({})
    versions: Mapping[str, int] = MappingProxyType({})
    crops: Sequence[Crops] = ()


class _Row(NamedTuple):
    """One picture's probabilities by version, empty where it could not be decoded."""

    picture: _Prepared
    p: Mapping[str, float]


def score(
    collections: Iterable[Collection],
    scorer: Scorer,
    tiers: Sequence[Tier],
    *,
    tests: bool = True,
    threads: int = 1,
    advance: Advance = lambda step: None,
) -> Scores:
    """Scores all pictures of the collections.

    Args:
        collections: The pictures.
        scorer: The model.
        tiers: Delivery tiers to score; ``clean`` is always among them, because the tests compare with it.
        tests: Whether to score the metamorphic tests and failure modes as well: three quarters of the work.
        threads: That decode, transform and score. They change no score by more than the model's batches do.
        advance: Is told after every picture.

    Raises:
        ConfigurationError: What can be decoded is of one class only, or a zip breaks in its middle.
        InferenceFailed: The model fails on a picture, or its score is no number.
    """
    wanted: list[Tier] = ["clean", *(tier for tier in tiers if tier != "clean")]
    columns = (*wanted, *METAMORPHIC, *FAILURE_MODES) if tests else (*wanted,)
    together = max(1, min(_TOGETHER, _VERSIONS_TOGETHER // len(columns)))
    rows: list[_Row] = []
    unreadable: Counter[str] = Counter()
    for collection in collections:
        work = _Work(scorer, tuple(wanted), tests, collection.path)
        for done in in_order(work, _chunks(collection.items(), together), threads=threads):
            unreadable.update(failure for row in done if (failure := row.picture.failure))
            rows += [row for row in done if row.p]
            advance(len(done))
    labels = np.array([row.picture.label for row in rows], np.int64)
    if len(set(labels.tolist())) < 2:  # noqa: PLR2004 - both classes
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(unreadable.items()))
        raise ConfigurationError(
            "The pictures that can be decoded are of one class only", where=reasons, remedy="Look at the files."
        )
    p = {name: np.array([row.p.get(name, np.nan) for row in rows]) for name in columns}
    sources = np.array([row.picture.source for row in rows])
    return Scores(labels, sources, p, [row.picture.slices for row in rows], dict(unreadable))


def _chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while chunk := list(islice(items, size)):
        yield chunk


@dataclass(frozen=True, slots=True)
class _Work:
    """From a few files to their rows, in one run of the model."""

    scorer: Scorer
    tiers: tuple[Tier, ...]
    tests: bool
    where: Path

    def __call__(self, items: Sequence[Item]) -> list[_Row]:
        pictures = [self._prepared(item) for item in items]
        try:
            p = self._predicted(pictures)
        except InferenceFailed:
            for picture in pictures:
                self._named(picture)
            raise
        rows = []
        for picture in pictures:
            own, p = p[: len(picture.crops)], p[len(picture.crops) :]
            rows.append(_Row(picture._replace(crops=()), {name: own[at] for name, at in picture.versions.items()}))
        return rows

    def _prepared(self, item: Item) -> _Prepared:
        versions: dict[str, int] = {}
        # A lossless version often shows the model the same crops as the file itself: those are scored once.
        distinct: dict[bytes, tuple[int, Crops]] = {}
        try:
            picture = decode(item.data)
            for name, version in self._versions(item, picture):
                crops = self.scorer.prepare(version)
                versions[name], _ = distinct.setdefault(crops.tobytes(), (len(distinct), crops))
            parts = {**slices(item, picture), "collection": self.where.name}
        except ImageError as error:
            return _Prepared(item.label, item.source, type(error).__name__)
        return _Prepared(item.label, item.source, "", parts, versions, [crops for _, crops in distinct.values()])

    def _versions(self, item: Item, picture: Picture) -> Iterator[tuple[str, Picture]]:
        for tier in self.tiers:
            yield tier, delivered(picture, tier)
        for name, transform in METAMORPHIC.items() if self.tests else ():
            yield name, transform(item.data, picture)
        for name, transform in FAILURE_MODES.items() if self.tests and item.label == 0 else ():
            yield name, transform(item.data, picture)

    def _predicted(self, pictures: Sequence[_Prepared]) -> list[float]:
        return [score.p_ai for score in self.scorer.predict([crops for picture in pictures for crops in picture.crops])]

    def _named(self, picture: _Prepared) -> None:
        """Runs one picture of a failed batch alone, so that the message can say which it is."""
        try:
            self._predicted([picture])
        except InferenceFailed as error:
            remedy = "A model that fails on a picture cannot be evaluated; see what it was exported from."
            raise InferenceFailed(error.what, where=f"{self.where}: {picture.source}", remedy=remedy) from error
