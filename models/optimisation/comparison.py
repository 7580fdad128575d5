"""What another precision or provider does to the scores, the ranking and the verdicts of labelled pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.calibration import Calibration
from models.evaluation.measures import Floats, Scored, balanced_auc, interval, measure, resampled

_MOVED = 0.005


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the bundle's own model says: ``scored`` pictures and their verdicts by its own ``calibration``."""

    scored: Scored
    calibration: Calibration
    seed: int

    def compare(
        self, logits: Floats, alone: Floats, calibration: Calibration, *, largest_loss: float
    ) -> dict[str, Any]:
        """Figures of a variant, as `report.Variant` takes them.

        Args:
            logits: Its logits of the same pictures ``[n]``.
            alone: The same with some of them run alone.
            calibration: The one it would ship with.
            largest_loss: Points of AUC it may lose.
        """
        own = self.scored
        p = probabilities(calibration, logits)
        change = np.abs(p - own.p)
        auc = balanced_auc(p, own.labels, own.sources)
        difference = auc - balanced_auc(own.p, own.labels, own.sources)
        rates = measure(Scored(p, own.labels, own.sources), calibration.thresholds, seed=self.seed)
        before = [self.calibration.verdict(float(value)) for value in own.p]
        after = [calibration.verdict(float(value)) for value in p]
        return {
            "auc": round(auc, 4),
            "auc_difference": round(difference, 4),
            "auc_difference_ci95": self._interval(p),
            "largest_change": round(float(change.max()), 6),
            "mean_change": round(float(change.mean()), 6),
            "batch_change": round(float(np.abs(probabilities(calibration, alone) - p).max()), 6),
            "verdicts_changed": round(float(np.mean([a != b for a, b in zip(before, after, strict=True)])), 4),
            **{name: rates[name] for name in ("fpr", "fnr", "abstained", "ece")},
            "allowed": bool(difference >= -largest_loss),
        }

    def _interval(self, p: Floats) -> list[float] | None:
        """95 % of the differences of AUC on pictures drawn with replacement within each source, the same for both."""
        own = self.scored
        places = np.arange(len(own))
        found = []
        for block in resampled(own.sources, seed=self.seed):
            for counts in block:
                drawn = np.repeat(places, counts.astype(np.int64))
                labels, sources = own.labels[drawn], own.sources[drawn]
                found.append(balanced_auc(p[drawn], labels, sources) - balanced_auc(own.p[drawn], labels, sources))
        return interval(np.array(found))


def probabilities(calibration: Calibration, logits: Floats) -> Floats:
    """Calibrated probabilities ``[n]`` of logits ``[n]``."""
    return np.array([calibration.probability(float(logit)) for logit in logits])


def follow(calibration: Calibration, before: Floats, after: Floats) -> tuple[Calibration, str]:
    """Keeps probabilities where they were when a model's logits moved; needs no labels.

    Platt's two numbers and the thresholds were set on pictures that are not here. So they stay, and where the mean
    probability moved by more than half a point the new logits are brought back to the mean and spread of the old ones,
    which leaves the thresholds their error rates as far as the order of pictures is left.

    Args:
        calibration: The old one.
        before: Logits of some pictures ``[n]`` by the model it was made for.
        after: Of the same pictures by the new one.

    Returns:
        The calibration to ship, and what was done in words.
    """
    moved = float(np.mean(probabilities(calibration, after) - probabilities(calibration, before)))
    words = f"on {len(after)} pictures apart from the measured ones the mean probability moved by {moved:+.4f}"
    if abs(moved) <= _MOVED or after.std() == 0 or before.std() == 0:
        return calibration, f"kept as it was: {words}"
    scale = float(before.std() / after.std())
    shift = float(before.mean() - scale * after.mean())
    content = calibration.model_dump() | {
        "a": calibration.a * scale, "b": calibration.b + calibration.a * shift
    }  # fmt: skip
    return Calibration.model_validate(content), f"logits brought back by {scale:.4f} z {shift:+.4f}: {words}"
