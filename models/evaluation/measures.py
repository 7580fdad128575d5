"""Figures of scored pictures, every source weighing the same, and their bootstrap intervals.

Within each class every source weighs the same and the classes keep their sizes: a picture of class *c* from a source
of *n* weighs `N_c / (k_c · n)`, with *k_c* sources and *N_c* pictures in the class. One large, easy source can then
not carry a figure. The AUC is the Mann–Whitney statistic, ties counting half (J. Hanley and B. McNeil, "The meaning
and use of the area under a ROC curve", Radiology 143, 1982), with these weights.

Intervals hold 95 % of figures computed again on pictures drawn with replacement within each source (B. Efron's
percentile bootstrap, stratified). Sources are kept, so the intervals do not cover the choice of sources. A share of
which nothing was seen gets 0 to 0, and of n pictures up to about 3/n may still be so (the rule of three).

What measures a distance, the ECE and the control between sources, is larger in every round than it was, since drawing
again only adds noise; its rounds are moved back by that, so that their mean lies on the figure (Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 10, on the bootstrap estimate of bias).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.calibration import Thresholds, calibration_gaps

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]
Figures = dict[str, Any]

ROUNDS = 300
_EVEN = 0.5
_CELLS = 1 << 20
_DIGITS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Pictures with calibrated probabilities ``p``, ``labels`` (1 machine-made) and ``sources``, each ``[n]``."""

    p: Floats
    labels: Labels
    sources: Names

    def __len__(self) -> int:
        return len(self.p)

    def of(self, chosen: Mask) -> Scored:
        """Those that are marked true."""
        return Scored(self.p[chosen], self.labels[chosen], self.sources[chosen])


def joined(*parts: Scored) -> Scored:
    """The pictures of several sets as one, in their order."""
    return Scored(
        np.concatenate([part.p for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.sources for part in parts]),
    )


def balanced_auc(p: npt.ArrayLike, labels: Labels, sources: Names) -> float:
    """Area under the ROC curve, every source weighing the same within its class; NaN where there is one class only.

    Args:
        p: Scores, shape ``[n]``; only their order counts.
        labels: 1 for machine-made, 0 for authentic, shape ``[n]``.
        sources: Name of every picture's source, shape ``[n]``.
    """
    return float(areas(np.asarray(p, np.float64), labels, balance(labels, sources)[None])[0])


def pooled_auc(p: npt.ArrayLike, labels: Labels) -> float:
    """Area under the ROC curve, every picture weighing the same; NaN where there is one class only."""
    return float(areas(np.asarray(p, np.float64), labels, np.ones((1, len(labels))))[0])


def balance(labels: Labels, sources: Names) -> Floats:
    """The weight of every picture, ``[n]``: sources of a class weigh the same, and their weights sum to its size."""
    weights = np.empty(len(labels))
    for label in np.unique(labels):
        member = labels == label
        _, place, sizes = np.unique(sources[member], return_inverse=True, return_counts=True)
        weights[member] = member.sum() / (len(sizes) * sizes[place])
    return weights


def measure(scored: Scored, thresholds: Thresholds, *, seed: int, chosen: Mask | None = None) -> Figures:
    """What the pictures measure, each figure ``name`` with its interval ``name_ci95``.

    ``auc`` and ``auc_pooled``; ``accuracy`` (right among the verdicts that decided), ``abstained`` (share of
    ``uncertain``), ``accuracy_forced`` and ``balanced_accuracy`` (right at even odds, over all; mean of both classes),
    ``fpr`` (authentic called ``ai_generated``), ``fnr`` (machine-made called ``authentic``), ``called_ai``, ``ece``.
    All but ``auc_pooled`` are source-balanced. A figure that the pictures cannot give is None.

    Args:
        scored: All pictures.
        thresholds: The bundle's.
        seed: Of the bootstrap.
        chosen: Marks a slice. Where that holds one class only, its two AUCs are against all pictures of the other
            class, and ``auc_against`` is ``all`` instead of ``slice``.
    """
    part = scored if chosen is None else scored.of(chosen)
    against = part
    if chosen is not None and len(set(part.labels)) == 1:
        against = scored.of(chosen | (scored.labels != part.labels[0]))
    figures: Figures = {
        "n": len(part),
        "n_real": int((part.labels == 0).sum()),
        "n_fake": int((part.labels == 1).sum()),
    }
    # Both kinds of figures come of the same draws where they are of the same pictures.
    groups = [(part, (_ranking, _rates))] if against is part else [(against, (_ranking,)), (part, (_rates,))]
    for among, kinds in groups:
        point, *rounds = [
            {name: value for kind in kinds for name, value in kind(among, counts, thresholds).items()}
            for counts in (np.ones((1, len(among))), *resampled(among.sources, seed=seed))
        ]
        for name, value in point.items():
            drawn = np.concatenate([found[name] for found in rounds])
            figures[name] = rounded(float(value[0]))
            figures[f"{name}_ci95"] = interval(_moved_back(drawn, value[0]) if name == "ece" else drawn)
    return figures


def shares(mask: Mask, labels: Labels, sources: Names, *, seed: int) -> tuple[float | None, list[float] | None]:
    """Source-balanced share of the marked pictures, and its interval."""
    weights = balance(labels, sources)
    rounds = [counts * weights @ mask / (counts @ weights) for counts in resampled(sources, seed=seed)]
    return rounded(float(weights @ mask / weights.sum())), interval(np.concatenate(rounds))


def real_vs_real(scored: Scored, *, seed: int) -> dict[str, object]:
    """The control: how well the score tells sources of authentic pictures apart, which it should not.

    Returns:
        ``real_vs_real``, the mean over pairs of such sources of the AUC, the way round that makes it .5 (not at all)
        or more, with its interval; ``chance``, the same with pictures dealt to sources at random (small sources are
        never at .5); ``pairs`` and the ``widest`` of them. It is None with fewer than two sources.
    """
    real = scored.of(scored.labels == 0)
    names = np.unique(real.sources)
    groups = [np.flatnonzero(real.sources == name) for name in names]
    rng = np.random.default_rng(seed)
    if len(groups) < 2:  # noqa: PLR2004 - a pair
        return {"real_vs_real": None, "real_vs_real_ci95": None, "chance": None, "pairs": 0, "widest": None}
    found = _pairs([real.p[group] for group in groups])
    drawn = [_distance([real.p[rng.choice(group, group.size)] for group in groups]) for _ in range(ROUNDS // 3)]
    dealt = [_distance([rng.permutation(real.p)[: group.size] for group in groups]) for _ in range(ROUNDS // 3)]
    first, second = max(found, key=lambda pair: abs(found[pair] - _EVEN))
    widest = {"sources": [str(names[first]), str(names[second])], "auc": rounded(found[first, second])}
    distance = float(np.mean([abs(area - _EVEN) for area in found.values()]))
    return {
        "real_vs_real": rounded(_EVEN + distance),
        "real_vs_real_ci95": interval(_EVEN + _moved_back(np.array(drawn), distance)),
        "chance": rounded(_EVEN + float(np.mean(dealt))),
        "pairs": len(found),
        "widest": widest,
    }


def resampled(sources: Names, *, seed: int, rounds: int = ROUNDS) -> Iterator[Floats]:
    """How often each picture is drawn in each bootstrap round, in blocks ``[rounds, n]`` of bounded size."""
    rng = np.random.default_rng(seed)
    order = np.argsort(sources, kind="stable")
    _, first, place, sizes = np.unique(sources[order], return_index=True, return_inverse=True, return_counts=True)
    start, size = first[place], sizes[place]
    n = len(sources)
    block = max(1, _CELLS // n)
    for done in range(0, rounds, block):
        height = min(block, rounds - done)
        drawn = order[start + (rng.random((height, n)) * size).astype(np.int64)]
        flat = (drawn + np.arange(height)[:, None] * n).ravel()
        yield np.bincount(flat, minlength=height * n).reshape(height, n).astype(np.float64)


def interval(values: Floats) -> list[float] | None:
    """The middle 95 % of what the rounds found; None where too few rounds found anything."""
    known = values[np.isfinite(values)]
    if known.size < len(values) / 2:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return [round(float(low), _DIGITS), round(float(high), _DIGITS)]


def _moved_back(drawn: Floats, value: float) -> Floats:
    """The rounds of a distance from 0 with their mean on the figure itself; none falls under 0."""
    known = drawn[np.isfinite(drawn)]
    moved: Floats = np.maximum(0.0, drawn - known.mean() + value) if known.size else drawn
    return moved


def rounded(value: float) -> float | None:
    """To four digits; None for what is no number."""
    return round(value, _DIGITS) if np.isfinite(value) else None


def _ranking(part: Scored, counts: Floats, _: Thresholds) -> dict[str, Floats]:
    return {
        "auc": areas(part.p, part.labels, counts * balance(part.labels, part.sources)),
        "auc_pooled": areas(part.p, part.labels, counts),
    }


def _rates(part: Scored, counts: Floats, thresholds: Thresholds) -> dict[str, Floats]:
    weights = counts * balance(part.labels, part.sources)
    fake = part.labels == 1
    above, below = part.p > thresholds.ai_above.value, part.p < thresholds.authentic_below.value
    decided, right = above | below, (part.p >= _EVEN) == fake
    marks = {
        "all": np.ones(len(part), bool), "fake": fake, "real": ~fake, "decided": decided, "above": above,
        "right": right, "right_fake": right & fake, "right_real": right & ~fake,
        "kept": (above == fake) & decided, "lost_real": above & ~fake, "lost_fake": below & fake,
    }  # fmt: skip
    sums = dict(zip(marks, (weights @ np.column_stack(list(marks.values())).astype(np.float64)).T, strict=True))
    gaps = weights @ calibration_gaps(part.p, part.labels)
    caught, spared = _quotient(sums["right_fake"], sums["fake"]), _quotient(sums["right_real"], sums["real"])
    return {
        "accuracy": _quotient(sums["kept"], sums["decided"]),
        "accuracy_forced": _quotient(sums["right"], sums["all"]),
        "balanced_accuracy": (caught + spared) / 2,
        "fpr": _quotient(sums["lost_real"], sums["real"]),
        "fnr": _quotient(sums["lost_fake"], sums["fake"]),
        "abstained": 1 - _quotient(sums["decided"], sums["all"]),
        "called_ai": _quotient(sums["above"], sums["all"]),
        "ece": _quotient(np.abs(gaps).sum(1), sums["all"]),
    }


def areas(p: Floats, labels: Labels, weights: Floats) -> Floats:
    """The weighted AUC for each row of weights ``[rounds, n]``; equal scores count half."""
    order = np.argsort(p, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(p[order]) > 0])
    fake = labels[order] == 1
    ordered = weights[:, order]
    high = np.add.reduceat(ordered * fake, starts, axis=1)
    low = np.add.reduceat(ordered * ~fake, starts, axis=1)
    won = (high * (np.cumsum(low, axis=1) - low / 2)).sum(1)
    return _quotient(won, high.sum(1) * low.sum(1))


def _quotient(part: Floats, whole: Floats) -> Floats:
    found = np.full(len(whole), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _pairs(groups: list[Floats]) -> dict[tuple[int, int], float]:
    found = {}
    for first in range(len(groups)):
        for second in range(first + 1, len(groups)):
            labels = np.repeat(np.array([0, 1]), [len(groups[first]), len(groups[second])])
            found[first, second] = pooled_auc(np.concatenate([groups[first], groups[second]]), labels)
    return found


def _distance(groups: list[Floats]) -> float:
    return float(np.mean([abs(area - _EVEN) for area in _pairs(groups).values()]))
