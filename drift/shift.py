"""How far a window's mean has moved, all directions at once and each counted in its own spread.

A new kind of picture moves the mean of a window by its share times its distance, spread over whatever directions its
trace lies in. Those are often directions in which pictures vary little and which no principal component holds, so that
no single column shows it; the squared length of the whole movement does: Hotelling's T² with the reference's covariance
(H. Hotelling, "The generalization of Student's ratio", Annals of Mathematical Statistics 2, 1931). It is counted in
units of what chance moves a mean of so many embeddings, so it means the same for windows of any size, and several can
be taken together. Chance also moved the reference's own mean: to the variance of a mean of 1,500, a reference of 8,000
adds 19 %, one of 4,000 38 %. The threshold is calibrated by re-partition like the divergences' and not taken from a
table, since embeddings are not normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

COLUMN, NAME = "all directions", "Hotelling's T²"
_FLATTEST = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """The mean of some embeddings, in unit covariance around the centre; those of several windows can be added.

    Attributes:
        count: How many embeddings, copies of one picture counted once: they tell nothing new, and a flood of them is
            not a new kind of picture.
        mean: float64 ``[D]``.
    """

    count: int
    mean: npt.NDArray[np.float64]

    def __add__(self, other: Movement) -> Movement:
        count = self.count + other.count
        return Movement(count, (self.count * self.mean + other.count * other.mean) / max(1, count))


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """The mean of unchanged embeddings, and how to count distances from it. Make it with `fit`.

    Attributes:
        centre: float32 ``[D]``.
        whitening: float32 ``[D, D]``: centred embeddings times this have unit covariance.
        count: How many embeddings it was learned from.
    """

    centre: Floats
    whitening: Floats
    count: int

    @classmethod
    def fit(cls, vectors: Floats) -> Self:
        """Learns from float32 ``[n, D]``.

        A direction in which they hardly vary is taken for a thousandth as wide as the widest, at least: what differs
        there is rounding.
        """
        centre = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - centre
        variances, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
        floor = max(float(variances[-1]) * _FLATTEST**2, float(np.finfo(np.float32).tiny))
        whitening = (axes / np.sqrt(variances.clip(floor))).astype(np.float32)
        return cls(centre.astype(np.float32), whitening, len(vectors))

    def whitened(self, vectors: npt.NDArray[np.floating]) -> Floats:
        """Centred and scaled: float32 ``[n, D]``."""
        return np.asarray((vectors - self.centre) @ self.whitening, np.float32)

    def movement(self, vectors: npt.NDArray[np.floating]) -> Movement:
        """Where the mean of a window, ``[n, D]``, has gone."""
        distinct = self.whitened(np.unique(vectors, axis=0))
        mean = distinct.mean(axis=0, dtype=np.float64) if len(distinct) else np.zeros(len(self.centre))
        return Movement(len(distinct), mean)

    def statistic(self, moved: Movement) -> float:
        """T² of one or several windows; about D where nothing changed, 0 for no embedding."""
        return t_squared(moved, self.count)

    def along(self, vectors: npt.NDArray[np.floating], moved: Movement) -> Floats:
        """How far each embedding, ``[n, D]``, lies in the direction of a movement: float32 ``[n]``.

        Those that lie farthest are what moved the mean.
        """
        length = float(np.linalg.norm(moved.mean)) or 1.0
        return np.asarray(self.whitened(vectors) @ (moved.mean / length), np.float32)


def unseen(count: int, dimensions: int) -> float:
    """How much larger squared distances are for new embeddings than for those that a covariance was learned from.

    In the mean of normal ones n / (n − D − 2), because the inverse of a covariance learned from n is too large by that
    (T. Anderson, "An Introduction to Multivariate Statistical Analysis", 3rd edition, lemma 7.7.1).
    """
    return count / max(1, count - dimensions - 2)


def t_squared(moved: Movement, others: int) -> float:
    """T² of a mean that lies ``moved`` from the mean of so many others."""
    if not moved.count:
        return 0.0
    return float(moved.mean @ moved.mean) / (1.0 / moved.count + 1.0 / others)
