"""Out-of-fold logits: every picture scored by a head that saw neither its source nor its siblings."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.training import head
from models.training.evaluate import Labels, Logits, Sources
from models.training.features import Features

Fit = Callable[[NDArray[np.bool_]], head.Head]


def assign(labels: Labels, sources: Sources, stems: Sources, by_stem: NDArray[np.bool_], folds: int) -> Labels:
    """The fold of every picture, ``[N]``.

    Whole sources go to one fold, the largest first, each class on its own, so that a fold holds sources of both.
    Pictures marked ``by_stem`` (simulated scenes, of which every family is known) are spread by stem instead.
    """
    fold = np.array([zlib.crc32(str(stem).encode()) % folds for stem in stems], np.int64)
    for label in (0, 1):
        names, sizes = np.unique(sources[~by_stem & (labels == label)], return_counts=True)
        for place, index in enumerate(np.argsort(-sizes, kind="stable")):
            fold[sources == names[index]] = (place if label == 0 else folds - 1 - place) % folds
    return fold


def out_of_fold(fold: Labels, tiers: dict[str, Features], fit: Fit) -> dict[str, Logits]:
    """Scores of every picture by the head fitted without its fold.

    Args:
        fold: ``[N]``.
        tiers: For each delivery tier the features of every picture's serving crops, ``[N, K, width]``.
        fit: Fits a head on the pictures marked true.

    Returns:
        For each tier logits ``[N]``, the mean over the crops.
    """
    scores = {tier: np.zeros(fold.size) for tier in tiers}
    for number in np.unique(fold):
        held = fold == number
        fitted = fit(~held)
        for tier, features in tiers.items():
            scores[tier][held] = fitted.score(features[held]).mean(1)
    return scores
