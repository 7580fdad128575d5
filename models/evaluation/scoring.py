"""Scores every picture as it is, as each tier delivers it, and changed as the tests change it.

One picture is in memory at a time, so a folder of any size can be evaluated. Pictures that cannot be decoded are
counted and left out, as the worker would dead-letter them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.decode import Picture, decode
from models.evaluation.delivery import Tier, delivered
from models.evaluation.measures import Floats, Labels, Names, Scored
from models.evaluation.pictures import Collection
from models.evaluation.slices import slices
from models.evaluation.transforms import FAILURE_MODES, METAMORPHIC
from models.ports import Scorer
from stream.errors import ConfigurationError, ImageError, InferenceFailed

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Every picture's scores.

    ``p`` holds a calibrated probability ``[n]`` for each tier, metamorphic test and failure mode by name (NaN where a
    failure mode does not apply), ``slices`` each picture's slices, ``unreadable`` counts what was left out by reason.
    """

    labels: Labels
    sources: Names
    p: Mapping[str, Floats]
    slices: Sequence[Mapping[str, str]]
    unreadable: Mapping[str, int]

    def scored(self, name: str) -> Scored:
        """The pictures with their scores of one kind."""
        return Scored(self.p[name], self.labels, self.sources)


def score(
    collections: Iterable[Collection], scorer: Scorer, tiers: Sequence[Tier], *, advance: Advance = lambda step: None
) -> Scores:
    """Scores all pictures of the collections.

    Args:
        collections: The pictures.
        scorer: The model.
        tiers: Delivery tiers to score; ``clean`` is always among them, because the tests compare with it.
        advance: Is told after every picture.

    Raises:
        ConfigurationError: What can be decoded is of one class only, or a zip breaks in its middle.
        InferenceFailed: The model fails on a picture, or its score is no number.
    """
    wanted: list[Tier] = ["clean", *(tier for tier in tiers if tier != "clean")]
    rows: list[dict[str, float]] = []
    labels: list[int] = []
    sources: list[str] = []
    parts: list[Mapping[str, str]] = []
    unreadable: Counter[str] = Counter()
    for collection in collections:
        for item in collection.items():
            try:
                versions = _versions(item.data, decode(item.data), wanted, authentic=item.label == 0)
                parts.append(slices(item, versions["clean"]))
            except ImageError as error:
                unreadable[type(error).__name__] += 1
            else:
                rows.append(_row(scorer, versions, f"{collection.path}: {item.source}"))
                labels.append(item.label)
                sources.append(item.source)
            advance(1)
    if len(set(labels)) < 2:  # noqa: PLR2004 - both classes
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(unreadable.items()))
        raise ConfigurationError(
            "The pictures that can be decoded are of one class only", where=reasons, remedy="Look at the files."
        )
    columns = (*wanted, *METAMORPHIC, *FAILURE_MODES)
    p = {name: np.array([row.get(name, np.nan) for row in rows]) for name in columns}
    return Scores(np.array(labels, np.int64), np.array(sources), p, parts, dict(unreadable))


def _versions(data: bytes, picture: Picture, tiers: Sequence[Tier], *, authentic: bool) -> dict[str, Picture]:
    found = {str(tier): delivered(picture, tier) for tier in tiers}
    found |= {name: transform(data, picture) for name, transform in METAMORPHIC.items()}
    if authentic:
        found |= {name: transform(data, picture) for name, transform in FAILURE_MODES.items()}
    return found


def _row(scorer: Scorer, versions: Mapping[str, Picture], where: str) -> dict[str, float]:
    try:
        scores = scorer.predict([scorer.prepare(version) for version in versions.values()])
    except InferenceFailed as error:
        remedy = "A model that fails on a picture cannot be evaluated; see what it was exported from."
        raise InferenceFailed(error.what, where=where, remedy=remedy) from error
    return {name: score.p_ai for name, score in zip(versions, scores, strict=True)}
