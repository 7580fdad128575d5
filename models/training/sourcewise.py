"""A head source by source: where it errs, and what looking at more of a picture would change."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from models.evaluation.delivery import Tier
from models.evaluation.measures import balanced_auc
from models.evaluation.pictures import Item
from models.recipes import Frozen
from models.training.evaluate import Labels, Logits, Sources
from models.training.features import Extractor, serving
from models.training.head import Head
from models.training.served import served

CROPS = (1, 2, 3)
_TIMED, _ROUNDS = 8, 9
_EVEN = 0.5

Slices = dict[str, dict[str, float]]


def left_out(
    logits: Logits, labels: Labels, sources: Sources, simulated: NDArray[np.bool_], calibrated: Calibration
) -> Slices:
    """For every authentic source that is no simulated camera, the shares of its pictures by verdict.

    Args:
        logits: By heads that did not see the source, ``[N]``.
        labels: ``[N]``.
        sources: ``[N]``.
        simulated: Marks scenes, ``[N]``.
        calibrated: From logits to verdicts.
    """
    return {
        f"left-out:{source}": _verdicts(logits[sources == source], calibrated)
        for source in np.unique(sources[~simulated & (labels == 0)])
    }


def scenes(
    items: Sequence[Item], extractor: Extractor, recipe: Frozen, tier: Tier, *, fitted: Head, calibrated: Calibration
) -> Slices:
    """The same for each family of scenes kept apart, with the shipped head."""
    sources = np.array([item.source for item in items])
    seen = serving(items, extractor, tier, size=recipe.crop, count=recipe.crops)
    logits = fitted.score(seen.features).mean(1)
    return {f"test-scenes:{source}": _verdicts(logits[sources == source], calibrated) for source in np.unique(sources)}


def more_crops(items: Sequence[Item], extractor: Extractor, single: Extractor, recipe: Frozen, fitted: Head) -> Slices:
    """What one, two and three crops of a picture give and cost: source-balanced AUC and CPU milliseconds.

    The time is the process's own, on one thread and for eight crops together, without decoding. Pictures that have
    room for no more than one crop are left out, for a second would be the first again; nothing where that leaves one
    class.

    Args:
        items: Pictures that the head did not learn from, as they are.
        extractor: Computes their features.
        single: The same on one thread, to be timed.
        recipe: States the crop's size and the first delivery tier.
        fitted: The head.
    """
    tier, size = recipe.tiers[0], recipe.crop
    seen = serving(items, extractor, tier, size=size, count=max(CROPS)).features
    roomy = (seen[:, 1] != seen[:, 0]).any(1)
    labels, sources = np.array([item.label for item in items], np.int64), np.array([item.source for item in items])
    if len(set(labels[roomy])) < 2:  # noqa: PLR2004 - the classes
        return {}
    logits = fitted.score(seen[roomy])
    timed = next(served([item for item, chosen in zip(items, roomy, strict=True) if chosen][:_TIMED], tier, size, 1))
    spent = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        single(timed[:, 0])
        spent.append(time.process_time() - started)
    cost = float(np.median(spent)) * 1e3 / len(timed)
    return {
        f"crops:{count}": {
            "auc": round(balanced_auc(logits[:, :count].mean(1), labels[roomy], sources[roomy]), 4),
            "cpu_ms": round(count * cost, 2),
            "pictures": float(roomy.sum()),
        }
        for count in CROPS
    }


def _verdicts(logits: Logits, calibrated: Calibration) -> dict[str, float]:
    p = np.array([calibrated.probability(float(logit)) for logit in logits])
    verdicts = [calibrated.verdict(float(value)) for value in p]
    return {
        "above_even_odds": round(float((p >= _EVEN).mean()), 4),
        **{name: round(verdicts.count(name) / len(verdicts), 4) for name in ("ai_generated", "authentic")},
        "pictures": float(len(p)),
    }
