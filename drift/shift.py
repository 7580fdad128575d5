"""How far a window's mean has moved, all directions at once and each counted in its own spread.

A new kind of picture moves the mean of a window by its share times its distance, spread over whatever directions its
trace lies in. Those are often directions in which pictures vary little and which no principal component holds, so that
no single column shows it; the squared Mahalanobis length of the whole movement does (H. Hotelling, "The generalization
of Student's ratio", Annals of Mathematical Statistics 2, 1931, with the reference's covariance). What it may reach by
chance is calibrated by re-partition like the divergences and not taken from a table, since uploads are neither normal
nor quite independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

COLUMN, NAME = "all directions", "squared distance of means"
_FLATTEST = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """The mean of unchanged embeddings, and how to count distances from it. Make it with `fit`.

    Attributes:
        centre: float32 ``[D]``.
        whitening: float32 ``[D, D]``: centred embeddings times this have unit covariance.
    """

    centre: Floats
    whitening: Floats

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
        return cls(centre.astype(np.float32), (axes / np.sqrt(variances.clip(floor))).astype(np.float32))

    def whitened(self, vectors: Floats) -> Floats:
        """Centred and scaled: float32 ``[n, D]``."""
        return np.asarray((vectors - self.centre) @ self.whitening, np.float32)

    def of(self, vectors: Floats) -> float:
        """Squared distance of a window's mean from the centre; 0 for an empty window."""
        if not len(vectors):
            return 0.0
        moved = self.whitened(vectors).mean(axis=0, dtype=np.float64)
        return float(moved @ moved)

    def along(self, vectors: Floats) -> Floats:
        """How far each embedding of a window lies in the direction its mean has moved: float32 ``[n]``.

        Those that lie farthest are what moved it.
        """
        whitened = self.whitened(vectors)
        moved = whitened.mean(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(moved)) or 1.0
        return np.asarray(whitened @ (moved / length), np.float32)
