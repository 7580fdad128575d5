"""The gate's decisions: figures in, broken limits out, in words. Nothing here reads a picture or runs a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from models.evaluation.measures import Scored
from retrain.gate.comparison import Change, best_agreement, calibration, compare, disagreement, lost, spread
from retrain.gate.scoring import Paired
from stream.settings import GateSettings

CONFIDENCE = 0.95
"""Of every bound, one-sided."""

_EVEN = 0.5
SetName = Literal["golden", "slice"]
_WORDS = {"golden": "the golden set", "slice": "the drifted slice"}
_NAMES = {"fpr": "false positives", "balanced_accuracy": "balanced accuracy", "auc": "AUC"}


def judged(scores: Paired, name: SetName, limits: GateSettings, *, seed: int = 0) -> tuple[list[str], dict[str, float]]:
    """Holds a challenger to every limit on one set of pictures.

    Args:
        scores: Both models on it.
        name: Which set it is.
        limits: What is asked.
        seed: Of the bootstrap.

    Returns:
        The limits that it breaks, in words, and what was measured.
    """
    reals, fakes = int((scores.labels == 0).sum()), int((scores.labels == 1).sum())
    figures = {f"{name}_authentic": float(reals), f"{name}_machine_made": float(fakes)}
    if scores.unreadable:
        figures[f"{name}_unreadable"] = float(scores.unreadable)
    # Every tier shows each picture once more.
    tiers = len({part["tier"] for part in scores.slices}) or 1
    fewest = limits.fewest if name == "golden" else limits.fewest_drifted
    if min(reals, fakes) < fewest * tiers:
        few = f"{_WORDS[name]} has {reals // tiers} authentic and {fakes // tiers} machine-made pictures"
        return [f"{few}; {fewest} of each are needed to judge by"], figures
    changes = compare(scores, confidence=CONFIDENCE, seed=seed)
    for figure, change in changes.items():
        figures |= change.figures(f"{name}_{figure}")
    figures[f"{name}_disagreement"] = round(disagreement(scores), 4)
    reasons = list(_inferior(changes, name, limits))
    if name == "slice" and limits.gain == "superior" and changes["balanced_accuracy"].low <= 0:
        gained = changes["balanced_accuracy"]
        reasons.append(
            f"balanced accuracy on {_WORDS[name]} is not proven to be better: {gained.champion:.3f} before, "
            f"{gained.challenger:.3f} after, the gain is at least {gained.low:+.3f}"
        )
    if name == "golden":
        reasons += _slices(scores, limits, seed)
        reasons += _calibrated(scores, limits, figures)
        reasons += _parity(scores, limits, figures)
    return reasons, figures


def contradiction(labelled: Scored, *, seed: int = 0) -> tuple[list[str], dict[str, float]]:
    """Asks whether the labels are turned round: a champion is seldom worse than a coin.

    A new generator makes it miss, a new camera makes it accuse; labels that contradict it on both classes together are
    likelier wrong than it is, and a challenger that learned from them shines on a slice that is as wrong.

    Args:
        labelled: The champion on all newly labelled pictures, of which it learned none.
        seed: Of the bootstrap.
    """
    # Where no picture of a class could be decoded, there is nothing to agree on; `judged` says that there are too few.
    if np.ptp(labelled.labels) == 0:
        return [], {}
    agreement = best_agreement(labelled, confidence=CONFIDENCE, seed=seed)
    figures = {"labels": float(len(labelled.labels)), "labels_agreement_high": round(agreement, 4)}
    if agreement >= _EVEN:
        return [], figures
    return [
        f"the {len(labelled.labels)} new labels contradict the champion (by them its balanced accuracy is "
        f"{agreement:.3f} at most, below chance): they look turned round, and nothing should be learned from them "
        "before a person has looked"
    ], figures


def costs(scores: Paired, sizes: tuple[int, int], limits: GateSettings) -> tuple[list[str], dict[str, float]]:
    """Holds a challenger to the limits on time and size; ``sizes`` are bytes, the champion's first."""
    figures = {"size_ratio": round(sizes[1] / sizes[0], 4), "challenger_bytes": float(sizes[1])}
    reasons = []
    if np.isfinite(scores.latency):
        figures["latency_ratio"] = round(scores.latency, 4)
        if scores.latency > limits.latency:
            reasons.append(f"inference takes {scores.latency:.2f} times as long, {limits.latency:g} are allowed")
    if figures["size_ratio"] > limits.size:
        reasons.append(f"the bundle is {figures['size_ratio']:.2f} times as large, {limits.size:g} are allowed")
    return reasons, figures


def _inferior(changes: Mapping[str, Change], name: SetName, limits: GateSettings) -> Iterator[str]:
    # A slice is small. A handful of authentic pictures can prove no rate, so a rise must be proven there; and where one
    # of the other figures is proven to be better, the rest need not be proven to be no worse.
    gained = any(changes[figure].low > 0 for figure in ("balanced_accuracy", "auc"))
    margins = {"fpr": limits.fpr, "balanced_accuracy": limits.balanced_accuracy, "auc": limits.auc}
    for figure, change in changes.items():
        margin = margins[figure] if name == "golden" else limits.slice_margin
        # Of false positives less is better, of everything else more.
        loss, proven = (change.high, change.low) if figure == "fpr" else (-change.low, -change.high)
        if loss <= margin or (name == "slice" and proven <= 0 and (figure == "fpr" or gained)):
            continue
        hint = "; more pictures may show that it is not" if proven <= 0 else ""
        yield (
            f"{_NAMES[figure]} on {_WORDS[name]} may be worse by {loss:.3f}, {margin:g} is allowed "
            f"({change.champion:.3f} before, {change.challenger:.3f} after, {CONFIDENCE:.0%} confidence{hint})"
        )


def _slices(scores: Paired, limits: GateSettings, seed: int) -> Iterator[str]:
    """Slices that lose more than their budget. A small slice proves nothing, so the loss itself must be proven."""
    dimensions = sorted({dimension for part in scores.slices for dimension in part})
    for dimension in dimensions:
        places = np.array([part.get(dimension, "") for part in scores.slices])
        for place in np.unique(places[places != ""]):
            chosen = places == place
            if chosen.sum() < limits.fewest or chosen.all():
                continue
            change = lost(scores, chosen, confidence=CONFIDENCE, seed=seed)
            if change.change > limits.budget and change.low > 0:
                yield (
                    f"the {dimension} {place} loses {change.change:.3f} of its pictures, {limits.budget:g} is "
                    f"allowed ({change.champion:.3f} wrong before, {change.challenger:.3f} after)"
                )


def _calibrated(scores: Paired, limits: GateSettings, figures: dict[str, float]) -> Iterator[str]:
    before, after = calibration(scores)
    figures |= {"golden_ece_champion": round(before, 4), "golden_ece_challenger": round(after, 4)}
    if after - before > limits.ece:
        rise = f"rises from {before:.3f} to {after:.3f}"
        yield f"calibration error on the golden set {rise}, {limits.ece:g} more is allowed"


def _parity(scores: Paired, limits: GateSettings, figures: dict[str, float]) -> Iterator[str]:
    found = spread(scores, limits.fewest)
    if found is None:
        return
    before, after = found
    figures |= {"golden_parity_champion": round(before, 4), "golden_parity_challenger": round(after, 4)}
    if after - before > limits.parity:
        yield (
            f"false-positive rates of sources spread over {after:.3f} instead of {before:.3f}, "
            f"{limits.parity:g} more is allowed"
        )
