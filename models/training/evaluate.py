"""What out-of-fold scores measure, as the flat numbers that a manifest keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from models.evaluation.measures import Labels, Names, Scored, measure

Logits = NDArray[np.float64]
Sources = Names
_KEPT = ("balanced_accuracy", "fpr", "fnr", "abstained", "ece")

__all__ = ["Labels", "Logits", "Sources", "measures"]


def measures(
    logits: Logits, labels: Labels, sources: Sources, calibration: Calibration, *, seed: int
) -> dict[str, float]:
    """What a set of pictures with both classes measures; see `models.evaluation.measures.measure` for the figures.

    Returns:
        ``auc`` with its interval's ends ``auc_low`` and ``auc_high``, ``balanced_accuracy``, ``fpr``, ``fnr``,
        ``abstained``, ``ece``, all source-balanced, and ``pictures``.
    """
    p = np.array([calibration.probability(float(logit)) for logit in logits])
    found = measure(Scored(p, labels, sources), calibration.thresholds, seed=seed)
    low, high = found["auc_ci95"]
    kept = {name: found[name] for name in _KEPT}
    return {"auc": found["auc"], "auc_low": low, "auc_high": high, **kept, "pictures": float(len(labels))}
