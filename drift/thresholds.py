"""Thresholds by re-partition: how large a divergence is when nothing has changed.

A divergence of two samples from one population is never 0, and how large it is depends on both sizes, on the number of
bins and on the column's shape, so that no fixed number is a threshold. Instead, embeddings that nothing has happened to
are split at random into a reference and a window of exactly the sizes that will be compared, many times over; what the
divergences reach then by chance is what a real one must exceed. (Bootstrapping the two from the reference itself gives
thresholds that are far too low, for then they share rows.)

All columns and both directions are watched at once, so the error rate is that of the family: each gets the same room,
counted in its own standard deviations, on a logarithmic scale because they are skewed; the maximum over all
standardised statistics has one null distribution, of which a quantile is turned back into a threshold for each
(P. Westfall and S. Young, "Resampling-Based Multiple Testing", 1993, the single-step maxT procedure). Half of ``alpha``
is theirs. A twentieth is for the shift of the mean of the uploads taken for authentic and half as much for that of all,
which see what none of the columns does and alarm unconfirmed. The rest is room for pictures that are posted again, of
which a random split knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
import numpy.typing as npt

from drift.divergence import Columns, Floats, Splits
from drift.shift import Movement, t_squared, unseen
from stream.errors import ReferenceInvalid

ALPHA = 0.01
REPETITIONS = 1000
_OF_COLUMNS, _OF_SHIFTS = 0.5, (0.025, 0.05)
_LEAST = 1e-12
_FEWEST = 20


@dataclass(frozen=True, slots=True, eq=False)
class Thresholds:
    """What a divergence must exceed, and how that was found out.

    Attributes:
        values: float64 ``[2, C]``, as `drift.divergence.both` returns divergences: forward, then backward.
        shifts: T² of each mean that is watched, as `drift.shift.COLUMNS` has them.
        n: Embeddings that were split.
        n_reference: Rows of a reference.
        n_current: Rows of a window.
        alpha: Share of unchanged windows, at most, in which at least one statistic exceeds.
        repetitions: How many splits were drawn.
        seed: Of the splits.
    """

    values: Floats
    shifts: tuple[float, ...]
    n: int
    n_reference: int
    n_current: int
    alpha: float
    repetitions: int
    seed: int

    @classmethod
    def calibrate(
        cls,
        columns: Columns,
        whitened: Sequence[Columns],
        *,
        n_reference: int,
        n_current: int,
        alpha: float = ALPHA,
        repetitions: int = REPETITIONS,
        seed: int = 0,
    ) -> Self:
        """Splits embeddings over and over; equal arguments give equal thresholds.

        Args:
            columns: ``[n, C]``, what divergences are taken of.
            whitened: `drift.shift.views` of the same embeddings, each ``[n, D]`` in unit covariance. The mean of a
                window is compared with that of all others, for at work it is compared with the mean of all that were
                collected.
            n_reference: Rows of a reference.
            n_current: Rows of a window.
            alpha: Share of unchanged windows, at most, in which at least one statistic exceeds its threshold.
            repetitions: How many splits.
            seed: Of the splits.

        Raises:
            ReferenceInvalid: There are fewer rows than the two sizes together, or ``alpha`` is finer than the
                repetitions can tell.
        """
        if n_reference + n_current > len(columns):
            what = f"{len(columns)} embeddings cannot be split into {n_reference} and {n_current}"
            raise ReferenceInvalid(what, remedy="Collect more, or compare smaller windows")
        if not _FEWEST / repetitions / 10 <= alpha < 1:
            what = f"{repetitions} splits cannot tell what is exceeded in a share {alpha:g} of them"
            raise ReferenceInvalid(what, remedy="Draw more, or choose a larger alpha")
        rng, splits = np.random.default_rng(seed), Splits(columns, n_reference + n_current)
        drawn = np.empty((repetitions, 2 * columns.shape[1]))
        moved = np.empty((repetitions, len(whitened)))
        for row, means in zip(drawn, moved, strict=True):
            split = rng.permutation(len(columns))[: n_reference + n_current]
            reference, current = split[:n_reference], split[n_reference:]
            row[:] = splits.both(reference, current).ravel()
            means[:] = [_moved(view, current) for view in whitened]
        values = _family_wise(drawn, alpha * _OF_COLUMNS).reshape(2, -1)
        shifts = tuple(
            _normal(reached, alpha * share) * unseen(view)
            for reached, view, share in zip(moved.T, whitened, _OF_SHIFTS, strict=True)
        )
        return cls(values, shifts, len(columns), n_reference, n_current, alpha, repetitions, seed)

    def exceeded(self, divergences: Floats) -> npt.NDArray[np.bool_]:
        """Which of ``[2, C]`` divergences are more than chance."""
        return divergences > self.values


def _moved(whitened: Columns, current: npt.NDArray[np.int64]) -> float:
    """T² of some rows against all others; the whole has mean 0, so the others' lies opposite."""
    mean, count, others = whitened[current].mean(axis=0, dtype=np.float64), len(current), len(whitened) - len(current)
    return t_squared(Movement(count, mean * (1.0 + count / others)), others)


def _normal(drawn: Floats, alpha: float) -> float:
    """The 1 − alpha quantile of what is distributed like χ², whose cube root is nearly normal.

    E. Wilson and M. Hilferty, "The distribution of chi-square", PNAS 17, 1931. So the tail is told by all splits and
    not only by the few beyond it.
    """
    roots = np.cbrt(drawn)
    reached = float(roots.mean() + NormalDist().inv_cdf(1.0 - alpha) * roots.std())
    return max(reached**3, _LEAST)


def _family_wise(drawn: Floats, alpha: float) -> Floats:
    logs = np.log(np.maximum(drawn, _LEAST))
    centre, spread = logs.mean(axis=0), logs.std(axis=0)
    standardised = np.divide(logs - centre, spread, out=np.full_like(logs, -np.inf), where=spread > 0)
    reached = np.quantile(standardised.max(axis=1), 1.0 - alpha, method="higher")
    if not np.isfinite(reached):  # nothing ever varied
        found: Floats = drawn.max(axis=0)
    else:
        found = np.exp(centre + reached * spread)
    # A column that never varied must be exceeded by the first that does, and by nothing else.
    return np.maximum(found, _LEAST)


def from_arrays(values: npt.NDArray[np.floating], facts: npt.NDArray[np.floating]) -> Thresholds:
    """Reads what `to_arrays` wrote."""
    n, n_reference, n_current, alpha, repetitions, seed, *shifts = facts.tolist()
    return Thresholds(
        values.astype(np.float64), tuple(shifts), int(n), int(n_reference), int(n_current), alpha, int(repetitions),
        int(seed),
    )  # fmt: skip


def to_arrays(thresholds: Thresholds) -> tuple[Floats, Floats]:
    """The thresholds, and what says how they were found, as arrays."""
    facts = (
        thresholds.n, thresholds.n_reference, thresholds.n_current,
        thresholds.alpha, thresholds.repetitions, thresholds.seed, *thresholds.shifts,
    )  # fmt: skip
    return thresholds.values, np.array(facts, np.float64)
