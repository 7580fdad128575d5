"""What the rotation says: how a generator that was left out ranks against authentic sources that were left out with it.

``auc`` is the mean over the folds, its interval from drawing the generators again (B. Efron's percentile bootstrap), so
it covers their choice. ``baseline`` is the same of eleven statistics in the very same folds. ``real_vs_real`` is the
control: the two authentic sources of a fold against each other, .5 plus the mean distance from .5; a detector that
tells sites apart, and not photographs from machine-made pictures, lies far from .5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.measures import balanced_auc, pooled_auc
from models.training.evaluate import Labels, Logits, Sources
from models.training.folds import Fold

_ROUNDS = 2000
_EVEN = 0.5


def figures(
    folds: Sequence[Fold], scores: Sequence[Logits], labels: Labels, sources: Sources, *, seed: int
) -> dict[str, float]:
    """The rotation's figures in one delivery tier.

    Args:
        folds: The rotation.
        scores: For each fold the logits ``[N]`` by the head fitted without it.
        labels: ``[N]``.
        sources: ``[N]``.
        seed: Of the bootstrap.

    Returns:
        ``auc`` with ``auc_low`` and ``auc_high``, ``worst_generator``, ``real_vs_real``, ``generators``, ``pictures``.
    """
    areas: dict[str, list[float]] = {}
    controls = []
    seen = np.zeros(len(labels), bool)
    for fold, logits in zip(folds, scores, strict=True):
        test = fold.test(sources)
        seen |= test
        areas.setdefault(fold.generator, []).append(balanced_auc(logits[test], labels[test], sources[test]))
        if len(fold.reals) > 1:
            pair = np.isin(sources, fold.reals[:2])
            controls.append(abs(pooled_auc(logits[pair], (sources[pair] == fold.reals[0]).astype(np.int64)) - _EVEN))
    means = np.array([np.mean(found) for found in areas.values()])
    rng = np.random.default_rng(seed)
    drawn = means[rng.integers(len(means), size=(_ROUNDS, len(means)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = {
        "auc": means.mean(), "auc_low": low, "auc_high": high, "worst_generator": means.min(),
        "generators": len(means), "pictures": seen.sum(),
    }  # fmt: skip
    if controls:
        found["real_vs_real"] = _EVEN + np.mean(controls)
    return {name: round(float(value), 4) for name, value in found.items()}
