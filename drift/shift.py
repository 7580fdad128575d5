"""How far a window's means have moved, all directions at once and each counted in its own spread.

A new kind of picture moves the mean of a window by its share times its distance, spread over whatever directions its
trace lies in. Those are often directions in which pictures vary little and which no principal component holds, so that
no single column shows it; the squared length of the whole movement does: Hotelling's T² with the reference's covariance
(H. Hotelling, "The generalization of Student's ratio", Annals of Mathematical Statistics 2, 1931). It is counted in
units of what chance moves a mean of so many embeddings, so it means the same for windows of any size, and several can
be taken together. Chance also moved the reference's own mean: to the variance of a mean of 1,500, a reference of 8,000
adds 19 %, one of 4,000 38 %. The threshold is calibrated by re-partition like the divergences' and not taken from a
table, since embeddings are not normal.

Two means are watched, see `views`: that of all uploads, and that of the uploads taken for authentic. A new generator
matters most where the model takes its pictures for photographs. These are one kind, while what it knows to be
machine-made is many that lie far apart and drown what is new. Among the authentic the same pictures lie two to three
times as far off, in squares, where the model is sure of most pictures, and up to a third farther where it is of few
(measured on simulated families that it takes for authentic). What it knows to be machine-made shows in the first mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

COLUMNS, NAME = ("all directions", "taken for authentic"), "Hotelling's T²"
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


def views(vectors: npt.NDArray[np.floating], scores: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
    """What means are taken of, in the order of `COLUMNS`.

    The mean of the second says how many uploads are taken for authentic and what those look like. Each counts by its
    probability of being authentic and not by its verdict, for a cautious model is uncertain of most.

    Args:
        vectors: ``[n, D]``.
        scores: ``[n]``, the calibrated probability of being machine-made.

    Returns:
        float32 ``[n, D]`` and ``[n, D + 1]``.
    """
    authentic = (1.0 - scores.astype(np.float32))[:, None]
    vectors = vectors.astype(np.float32, copy=False)
    return vectors, np.concatenate([authentic, authentic * vectors], axis=1)


def unseen(whitened: Floats) -> float:
    """How much larger squared distances are for new embeddings than for those that a covariance was learned from.

    The inverse of a covariance learned from n is too large, for normal embeddings by n / (n − D − 2). For any it is
    told by leaving out one at a time: without x, its squared distance d is d / (1 − d / n) (J. Sherman and
    W. Morrison, "Adjustment of an inverse matrix", Annals of Mathematical Statistics 21, 1950).

    Args:
        whitened: float32 ``[n, D]``, the embeddings that it was learned from.
    """
    squares = np.einsum("nd,nd->n", whitened, whitened, dtype=np.float64)
    left_out = squares / np.maximum(1.0 - squares / len(squares), 1.0 / len(squares))
    # Embeddings that are all the same lie at no distance, and new ones no farther.
    return float(left_out.sum() / squares.sum()) if squares.any() else 1.0


def t_squared(moved: Movement, others: int) -> float:
    """T² of a mean that lies ``moved`` from the mean of so many others."""
    if not moved.count:
        return 0.0
    return float(moved.mean @ moved.mean) / (1.0 / moved.count + 1.0 / others)
