"""Calibration on what the rotation left out, with a threshold that no source of authentic pictures breaks.

A threshold at 5 % false positives over all sources together lets a site or a kind of art lose a third of its pictures:
thresholds do not travel. So ``ai_generated`` is said only where it keeps every left-out source within the bound of
every delivery tier, and the rest is ``uncertain``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models import calibration
from models.calibration import Calibration
from models.evaluation.measures import balance
from models.training.evaluate import Labels, Logits, Sources

BOUNDS = {"clean": 0.05, "web": 0.1, "hard": 0.1}
FEWEST = 20
"""Sources with fewer pictures set no bound: their quantiles are one picture."""


def calibrate(
    scores: dict[str, Logits],
    labels: Labels,
    sources: Sources,
    simulated: NDArray[np.bool_],
    *,
    false_positive_rate: float,
    false_negative_rate: float,
) -> Calibration:
    """Platt's two numbers on all tiers together, every source weighing the same, and the two thresholds.

    Args:
        scores: For each delivery tier the logits ``[N]`` by heads that saw neither a picture nor its source.
        labels: ``[N]``.
        sources: ``[N]``.
        simulated: Marks scenes, ``[N]``. They set no bound and no scale wherever there are others: their sources are
            known, not left out.
        false_positive_rate: Of all authentic pictures, in every tier together.
        false_negative_rate: Of all machine-made ones.

    Raises:
        ModelError: The logits rank the classes backwards.
    """
    kept = ~simulated if not simulated.all() else simulated
    tiers = len(scores)
    pictures = "scenes left out of training" if simulated.all() else "left-out sources of training pictures"
    return calibration.fit(
        np.concatenate([logits[kept] for logits in scores.values()]),
        np.tile(labels[kept], tiers),
        on=f"{pictures}, delivered {', '.join(scores)}; no source beyond its tier's bound",
        false_positive_rate=false_positive_rate,
        false_negative_rate=false_negative_rate,
        weights=np.tile(balance(labels[kept], sources[kept]), tiers),
        least_above=strictest({tier: logits[kept] for tier, logits in scores.items()}, labels[kept], sources[kept]),
    )


def strictest(scores: dict[str, Logits], labels: Labels, sources: Sources) -> float | None:
    """The lowest logit above which no authentic source of `FEWEST` pictures has more than its tier's bound."""
    found = [
        float(np.quantile(logits[sources == source], 1 - BOUNDS[tier], method="higher"))
        for tier, logits in scores.items()
        for source in np.unique(sources[labels == 0])
        if (sources == source).sum() >= FEWEST
    ]
    return max(found, default=None)
