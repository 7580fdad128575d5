"""What a score is worth: AUC with every source weighing the same, its interval, and what the thresholds give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.calibration import Calibration, expected_calibration_error

Logits = NDArray[np.float64]
Labels = NDArray[np.int64]
Sources = NDArray[np.str_]


def balanced_auc(logits: Logits, labels: Labels, sources: Sources) -> float:
    """Area under the ROC curve, every source weighing the same within its class."""
    _, place, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    return float(roc_auc_score(labels, logits, sample_weight=1 / sizes[place]))


def interval(logits: Logits, labels: Labels, sources: Sources, *, seed: int, rounds: int = 300) -> tuple[float, float]:
    """95 % bootstrap interval of `balanced_auc`: pictures drawn again within each source, sources kept."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(sources == source) for source in np.unique(sources)]
    found = []
    for _ in range(rounds):
        drawn = np.concatenate([rng.choice(member, member.size) for member in members])
        found.append(balanced_auc(logits[drawn], labels[drawn], sources[drawn]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def measures(
    logits: Logits, labels: Labels, sources: Sources, calibration: Calibration, *, seed: int
) -> dict[str, float]:
    """What a set of pictures with both classes measures.

    Returns:
        ``auc`` (source-balanced) with its interval, ``balanced_accuracy`` at p = 0.5, ``fpr`` (authentic called
        machine-made at the upper threshold), ``fnr`` (machine-made called authentic at the lower one), ``abstention``
        (between them), ``ece`` and ``pictures``.
    """
    p = np.array([calibration.probability(float(logit)) for logit in logits])
    above, below = calibration.thresholds.ai_above.value, calibration.thresholds.authentic_below.value
    real, fake = p[labels == 0], p[labels == 1]
    low, high = interval(logits, labels, sources, seed=seed)
    values = {
        "auc": balanced_auc(logits, labels, sources),
        "auc_low": low,
        "auc_high": high,
        "balanced_accuracy": float(((real < 0.5).mean() + (fake >= 0.5).mean()) / 2),  # noqa: PLR2004 - even odds
        "fpr": float((real > above).mean()),
        "fnr": float((fake < below).mean()),
        "abstention": float(((p >= below) & (p <= above)).mean()),
        "ece": expected_calibration_error(p, labels),
    }
    return {**{name: round(value, 4) for name, value in values.items()}, "pictures": float(len(labels))}
