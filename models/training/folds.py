"""The rotation: every generator left out in turn with two sources of authentic pictures, and scored by a head without.

A detector is worth what it says about generators and sites that it has never seen, so whole sources are left out, of
both classes together. Simulated scenes, of which every family is known, are spread by stem instead.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.training.evaluate import Labels, Logits, Sources
from models.training.features import Features, Halves
from stream.errors import ConfigurationError

REALS_LEFT_OUT = 2
SCENE_FOLDS = 5


class Scorer(Protocol):
    """A fitted head, or the baseline's trees."""

    def score(self, features: Features | Halves, /) -> NDArray[np.float64]:
        """Logits ``[…]`` of rows ``[…, width]``."""


Fit = Callable[[NDArray[np.bool_]], Scorer]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One turn: the generator, the authentic sources, and all pictures ``[N]`` that the head must not see."""

    generator: str
    reals: tuple[str, ...]
    out: NDArray[np.bool_]

    def test(self, sources: Sources) -> NDArray[np.bool_]:
        """Marks the pictures of the sources left out, scenes not among them."""
        return np.isin(sources, [self.generator, *self.reals])


def rotation(labels: Labels, sources: Sources, stems: Sources, by_stem: NDArray[np.bool_], *, seed: int) -> list[Fold]:
    """One fold for each generator; authentic sources take turns in an order drawn by the seed.

    Where there are scenes only, `SCENE_FOLDS` folds of them by stem.

    There are as many folds as generators or, where that is more, as it takes to leave every authentic source out once.

    Args:
        labels: ``[N]``; 1 for machine-made.
        sources: ``[N]``.
        stems: ``[N]``.
        by_stem: ``[N]``; marks the scenes that are spread by stem.
        seed: Of the order.

    Raises:
        ConfigurationError: Fewer than two sources of either class beside the scenes.
    """
    shards = np.array([zlib.crc32(str(stem).encode()) for stem in stems], np.int64)
    if by_stem.all():
        return [Fold("", (), shards % SCENE_FOLDS == number) for number in range(SCENE_FOLDS)]
    generators = np.unique(sources[~by_stem & (labels == 1)])
    reals = np.random.default_rng(seed).permutation(np.unique(sources[~by_stem & (labels == 0)]))
    if min(len(generators), len(reals)) < 2:  # noqa: PLR2004 - one to leave out, one to learn from
        raise ConfigurationError(
            f"There are {len(reals)} sources of authentic and {len(generators)} of machine-made pictures",
            remedy="At least two of each are needed beside simulated scenes: whole sources are left out to measure.",
        )
    together = min(REALS_LEFT_OUT, len(reals) - 1)
    count = max(len(generators), -(-len(reals) // together))
    shard = shards % count
    folds = []
    for number in range(count):
        pair = tuple(str(reals[(number * together + place) % len(reals)]) for place in range(together))
        generator = str(generators[number % len(generators)])
        out = (~by_stem & np.isin(sources, [generator, *pair])) | (by_stem & (shard == number))
        folds.append(Fold(generator, pair, out))
    return folds


def out_of_fold(
    folds: Sequence[Fold],
    tiers: Mapping[str, Features | Halves],
    fit: Fit,
    advance: Callable[[int], None] = lambda step: None,
) -> dict[str, list[Logits]]:
    """For each tier and fold the logits ``[N]`` by the head fitted without it, NaN for pictures that it saw.

    Args:
        folds: The rotation.
        tiers: For each delivery tier the features of every picture's serving crops, ``[N, K, width]``.
        fit: Fits a head without the pictures marked true.
        advance: Is told after every fold.
    """
    scores: dict[str, list[Logits]] = {tier: [] for tier in tiers}
    for fold in folds:
        fitted = fit(fold.out)
        for tier, features in tiers.items():
            logits = np.full(len(fold.out), np.nan)
            logits[fold.out] = fitted.score(features[fold.out]).mean(1)
            scores[tier].append(logits)
        advance(1)
    return scores


def together(scores: Sequence[Logits]) -> Logits:
    """One logit for every picture: the mean over the folds that left it out."""
    return np.asarray(np.nanmean(np.stack(scores), 0), np.float64)
