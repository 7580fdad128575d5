"""By how much a challenger is better or worse than the champion on the same pictures, with one-sided bounds.

Paired bootstrap: in every round the same pictures are drawn with replacement within each source, for both models, and
the difference of their figures is taken; its quantiles are the bounds (B. Efron and R. Tibshirani, "An Introduction to
the Bootstrap", 1993, chapter 13). Pairing removes what both models find easy or hard alike. Where no picture tells the
models apart the bootstrap knows no doubt; the bound is then the rule of three's, 3 / n for 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.calibration import expected_calibration_error
from models.evaluation.measures import Floats, Scored, areas, balance, resampled
from retrain.gate.scoring import Paired

ROUNDS = 500
_EVEN = 0.5
_DIGITS = 4

# Weights [rounds, n] in, champion's and challenger's figure of every round out.
_Figure = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of both models. ``low`` and ``high`` are one-sided bounds of ``challenger - champion``."""

    champion: float
    challenger: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """Challenger less champion."""
        return self.challenger - self.champion

    def figures(self, name: str) -> dict[str, float]:
        """By name, for an event."""
        found = {
            f"{name}_champion": self.champion,
            f"{name}_challenger": self.challenger,
            f"{name}_change": self.change,
            f"{name}_change_low": self.low,
            f"{name}_change_high": self.high,
        }
        return {key: round(value, _DIGITS) for key, value in found.items() if math.isfinite(value)}


def compare(scores: Paired, *, confidence: float, seed: int) -> dict[str, Change]:
    """``fpr``, ``balanced_accuracy`` and ``auc``, every source weighing the same within its class.

    Args:
        scores: Both models on both classes.
        confidence: Of each bound.
        seed: Of the bootstrap.
    """
    fake = scores.labels == 1
    right = np.stack([(scored.p >= _EVEN) == fake for scored in (scores.champion, scores.challenger)])
    return {
        "fpr": _bounded(scores, _shares(scores.called & ~fake, ~fake), int((~fake).sum()), confidence, seed),
        "balanced_accuracy": _bounded(scores, _balanced(right, fake), len(fake), confidence, seed),
        "auc": _bounded(scores, _ranked(scores), len(fake), confidence, seed),
    }


def lost(scores: Paired, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]], *, confidence: float, seed: int) -> Change:
    """Share of a slice's pictures that each model gets wrong: authentic ones accused, machine-made ones missed."""
    fake = scores.labels[chosen] == 1
    part = Paired(
        scores.champion.of(chosen), scores.challenger.of(chosen), scores.called[:, chosen], (), (),
    )  # fmt: skip
    missed = np.stack([scored.p < _EVEN for scored in (part.champion, part.challenger)]) & fake
    wrong = missed | (part.called & ~fake)
    return _bounded(part, _shares(wrong, np.ones(len(fake), bool)), len(fake), confidence, seed)


def calibration(scores: Paired) -> tuple[float, float]:
    """Expected calibration error of champion and challenger, source-balanced."""
    weights = balance(scores.labels, scores.sources)
    found = [
        expected_calibration_error(scored.p, scores.labels, weights=weights)
        for scored in (scores.champion, scores.challenger)
    ]
    return found[0], found[1]


def spread(scores: Paired, fewest: int) -> tuple[float, float] | None:
    """Widest distance of false-positive rates between sources of authentic pictures, by champion and challenger.

    Returns:
        None where fewer than two sources have so many pictures.
    """
    rates = []
    for source in np.unique(scores.sources[scores.labels == 0]):
        chosen = (scores.sources == source) & (scores.labels == 0)
        if chosen.sum() >= fewest:
            rates.append(scores.called[:, chosen].mean(axis=1))
    if len(rates) < 2:  # noqa: PLR2004  a distance takes two
        return None
    found = np.ptp(np.array(rates), axis=0)
    return float(found[0]), float(found[1])


def best_agreement(scored: Scored, *, confidence: float, seed: int) -> float:
    """Upper bound of a model's balanced accuracy at even odds: how far the labels may agree with it at the most."""
    fake = scored.labels == 1
    right = (scored.p >= _EVEN) == fake
    figure = _balanced(np.stack([right, right]), fake)
    rounds = [figure(counts)[0] for counts in resampled(scored.sources, seed=seed, rounds=ROUNDS)]
    return float(np.nanquantile(np.concatenate(rounds), confidence))


def disagreement(scores: Paired) -> float:
    """Share of pictures on which the models stand on different sides of even odds."""
    return float(np.mean((scores.champion.p >= _EVEN) != (scores.challenger.p >= _EVEN)))


def _bounded(scores: Paired, figure: _Figure, n: int, confidence: float, seed: int) -> Change:
    weights = balance(scores.labels, scores.sources)
    champion, challenger = (float(found[0]) for found in figure(weights[None]))
    rounds = [figure(counts * weights) for counts in resampled(scores.sources, seed=seed, rounds=ROUNDS)]
    differences = np.concatenate([after - before for before, after in rounds])
    known = differences[np.isfinite(differences)]
    if known.size < ROUNDS / 2:
        return Change(champion, challenger, -math.inf, math.inf)
    low, high = (float(bound) for bound in np.quantile(known, [1 - confidence, confidence]))
    if low == high:
        doubt = -math.log(1 - confidence) / max(1, n)
        low, high = low - doubt, high + doubt
    return Change(champion, challenger, low, high)


def _shares(marked: np.ndarray[tuple[int, int], np.dtype[np.bool_]], among: object) -> _Figure:
    members = np.asarray(among, np.float64)

    def figure(weights: Floats) -> tuple[Floats, Floats]:
        whole = weights @ members
        return _quotient(weights @ marked[0], whole), _quotient(weights @ marked[1], whole)

    return figure


def _balanced(right: np.ndarray[tuple[int, int], np.dtype[np.bool_]], fake: object) -> _Figure:
    machine = np.asarray(fake, bool)
    caught, spared = _shares(right & machine, machine), _shares(right & ~machine, ~machine)

    def figure(weights: Floats) -> tuple[Floats, Floats]:
        halves = zip(caught(weights), spared(weights), strict=True)
        before, after = ((first + second) / 2 for first, second in halves)
        return before, after

    return figure


def _ranked(scores: Paired) -> _Figure:
    def figure(weights: Floats) -> tuple[Floats, Floats]:
        labels = scores.labels
        return areas(scores.champion.p, labels, weights), areas(scores.challenger.p, labels, weights)

    return figure


def _quotient(part: Floats, whole: Floats) -> Floats:
    found = np.full(len(whole), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found
