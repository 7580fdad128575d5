"""What a bench found, as figures with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compose.driftbench.trials import BenchPlan, Outcome
from models.intervals import wilson

PER = 100_000
MOST_FALSE_ALARMS, LEAST_DETECTED = 1.0, 0.9
_TAIL = 0.025
_RESAMPLES = 1000
_HALVINGS = 100
_HISTORY = 1


def figures(outcomes: Sequence[Outcome], plan: BenchPlan, counted: Sequence[str], *, seed: int) -> dict[str, Any]:
    """The report of all streams.

    Args:
        outcomes: Of every stream.
        plan: How they were judged.
        counted: Families that the headline is about; the others are reported beside them.
        seed: Of the bootstrap.
    """
    clean = [outcome for outcome in outcomes if outcome.family is None]
    entered = [outcome for outcome in outcomes if outcome.family in counted]
    windows = sum(outcome.windows for outcome in clean)
    # A stream's first window cannot alarm, for it has none before it to be confirmed by: it does not count.
    uploads = sum(max(0, outcome.windows - _HISTORY) for outcome in clean) * plan.window
    alarms = sum(outcome.alarms for outcome in clean)
    low, high = poisson(alarms)
    families = sorted({outcome.family for outcome in outcomes if outcome.family is not None})
    headline = detection(entered, plan.within, seed=seed)
    return {
        "false_alarms_per_100k": alarms / uploads * PER if uploads else None,
        "false_alarms_per_100k_ci95": [low / uploads * PER, high / uploads * PER] if uploads else None,
        **headline,
        "clean": {
            "streams": len(clean), "uploads": uploads, "alarms": alarms, "windows": windows,
            "beyond": sum(outcome.beyond for outcome in clean) / windows if windows else None,
            "early_warnings": sum(outcome.early for outcome in clean),
        },
        "families": {
            family: {
                "counted": family in counted,
                **detection([outcome for outcome in outcomes if outcome.family == family], plan.within, seed=seed),
            }
            for family in families
        },
    }  # fmt: skip


def detection(outcomes: Sequence[Outcome], within: int, *, seed: int) -> dict[str, Any]:
    """How many streams were alarmed on in time, and how soon; a delay is None where so many were never alarmed on."""
    told = np.array([math.inf if outcome.delay is None else outcome.delay for outcome in outcomes])
    in_time = int((told <= within).sum())
    early = sum(outcome.early_delay is not None and outcome.early_delay <= within for outcome in outcomes)
    return {
        f"detected_within_{within}": in_time / len(told) if len(told) else None,
        f"detected_within_{within}_ci95": wilson(in_time, len(told)),
        "delay": {
            name: found
            for level in (50, 90)
            for name, found in _delay(told, level, np.random.default_rng(seed)).items()
        },
        "early_warning": early / len(told) if len(told) else None,
        "runs": len(told),
    }  # fmt: skip


def breaches(found: dict[str, Any], within: int) -> list[str]:
    """The limits that did not hold, in words."""
    alarms, detected = found["false_alarms_per_100k"], found[f"detected_within_{within}"]
    broken = []
    if alarms is None or alarms > MOST_FALSE_ALARMS:
        broken.append(f"{_told(alarms)} false alarms in {PER:,} uploads, not at most {MOST_FALSE_ALARMS:g}")
    if detected is None or detected < LEAST_DETECTED:
        share = "nothing" if detected is None else f"{detected:.0%}"
        broken.append(f"{share} alarmed within {within:,} uploads, not at least {LEAST_DETECTED:.0%}")
    return broken


def poisson(count: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean (F. Garwood, "Fiducial limits for the Poisson distribution", 1936)."""
    low = 0.0 if count == 0 else _solve(lambda mean: 1.0 - _at_most(count - 1, mean) - _TAIL, count)
    return low, _solve(lambda mean: _TAIL - _at_most(count, mean), count)


def _at_most(count: int, mean: float) -> float:
    return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _solve(rising: Callable[[float], float], count: int) -> float:
    low, high = 1e-9, 4.0 * count + 20.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return high


def _delay(told: np.ndarray[Any, np.dtype[np.float64]], level: int, rng: np.random.Generator) -> dict[str, Any]:
    if not len(told):
        return {f"p{level}": None, f"p{level}_ci95": None}
    drawn = rng.choice(told, (_RESAMPLES, len(told)))
    ends = np.quantile(np.quantile(drawn, level / 100, axis=1, method="higher"), [_TAIL, 1 - _TAIL], method="nearest")
    value = np.quantile(told, level / 100, method="higher")
    return {f"p{level}": _finite(value), f"p{level}_ci95": [_finite(end) for end in ends]}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _told(value: float | None) -> str:
    return "no count of" if value is None else f"{value:.2f}"
