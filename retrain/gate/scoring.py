"""Champion and challenger on the same pictures, one after the other on each batch, so that they can be compared.

The pictures are decoded and delivered once. Whoever goes first changes from batch to batch, so that what else the
machine does meets both alike and the ratio of their times is the models' own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.classifier import Classifier
from models.decode import Picture, decode
from models.evaluation.delivery import Tier, delivered
from models.evaluation.measures import Labels, Names, Scored
from models.evaluation.pictures import Collection, Item
from models.evaluation.scoring import Advance
from models.evaluation.slices import slices
from models.ports import Scorer
from stream.errors import ImageError

_TOGETHER = 8
_DIMENSIONS = ("source", "generator", "tenant", "format", "size")


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Every picture in every tier with both models' scores.

    Attributes:
        champion: Its scores; `labels` and `sources` are the same in both.
        challenger: Its scores.
        called: By model, champion first: whether it called the picture `ai_generated`, ``[2, n]``.
        slices: For each picture its slice by dimension, ``tier`` among them.
        ratios: Of inference times, challenger by champion, one a batch.
        unreadable: Pictures that could not be decoded and were left out.
    """

    champion: Scored
    challenger: Scored
    called: npt.NDArray[np.bool_]
    slices: tuple[Mapping[str, str], ...]
    ratios: tuple[float, ...]
    unreadable: int = 0

    @property
    def labels(self) -> Labels:
        """1 for machine-made, ``[n]``."""
        return self.champion.labels

    @property
    def sources(self) -> Names:
        """``[n]``."""
        return self.champion.sources

    @property
    def latency(self) -> float:
        """The median ratio; NaN where nothing was measured."""
        return median(self.ratios) if self.ratios else float("nan")


def paired(
    champion: Bundle,
    challenger: Bundle,
    collections: Sequence[Collection],
    tiers: Sequence[Tier],
    *,
    threads: int = 1,
    advance: Advance = lambda step: None,
) -> Paired:
    """Scores labelled pictures with both bundles on the CPU.

    Args:
        champion: The bundle in force.
        challenger: The bundle that would take its place.
        collections: The pictures.
        tiers: How each is delivered.
        threads: Of ONNX Runtime.
        advance: Is told after every few pictures; what it raises ends the work.

    Raises:
        ConfigurationError: A zip breaks in its middle.
        BundleInvalid: A model cannot be run.
        InferenceFailed: A model fails on a picture, or its score is no number.
    """
    models = [Classifier.load(bundle, provider="cpu", threads=threads) for bundle in (champion, challenger)]
    p: list[list[float]] = [[], []]
    called: list[list[bool]] = [[], []]
    labels: list[int] = []
    sources: list[str] = []
    parts: list[Mapping[str, str]] = []
    ratios: list[float] = []
    unreadable = 0
    for collection in collections:
        for chunk in _chunks(collection.items()):
            shown, unread = _shown(chunk, tiers)
            unreadable += unread
            advance(len(chunk))
            if not shown:
                continue
            seconds = [0.0, 0.0]
            # The first batch of all warms caches up; its times are thrown away with the ratio below.
            for place in (0, 1) if len(labels) // _TOGETHER % 2 else (1, 0):
                seconds[place] = _score(models[place], [picture for _, picture, _ in shown], p[place], called[place])
            if labels:
                ratios.append(seconds[1] / seconds[0])
            labels += [item.label for item, _, _ in shown]
            sources += [item.source for item, _, _ in shown]
            parts += [part for _, _, part in shown]
    truth, names = np.array(labels, np.int64), np.array(sources, np.str_)
    scored = [Scored(np.array(found, np.float64), truth, names) for found in p]
    return Paired(scored[0], scored[1], np.array(called, np.bool_), tuple(parts), tuple(ratios), unreadable)


def _score(model: Scorer, pictures: Sequence[Picture], p: list[float], called: list[bool]) -> float:
    prepared = [model.prepare(picture) for picture in pictures]
    begun = time.perf_counter()
    scores = model.predict(prepared)
    seconds = time.perf_counter() - begun
    p += [score.p_ai for score in scores]
    called += [score.verdict == "ai_generated" for score in scores]
    return seconds


def _shown(items: Sequence[Item], tiers: Sequence[Tier]) -> tuple[list[tuple[Item, Picture, Mapping[str, str]]], int]:
    """Every picture as every tier brings it, with its slices; and how many could not be decoded."""
    shown: list[tuple[Item, Picture, Mapping[str, str]]] = []
    unreadable = 0
    for item in items:
        try:
            picture = decode(item.data)
            known = {**item.facts, **slices(item, picture)}
            if known.get("generator") == known["source"]:
                del known["generator"]
            part = {name: known[name] for name in _DIMENSIONS if known.get(name)}
            shown += [(item, delivered(picture, tier), {**part, "tier": tier}) for tier in tiers]
        except ImageError:
            unreadable += 1
    return shown, unreadable


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, _TOGETHER)):
        yield chunk
