"""How far an embedding lies from the nearest of the reference's: large where the reference has nothing like it."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NEAREST = 5
_TOGETHER = 512
_FLATTEST = 1e-3


class Neighbours:
    """Mean distance to the `NEAREST` reference embeddings, in directions scaled by the reference's spread.

    Unscaled, the few directions in which pictures differ most would drown the many in which a generator leaves its
    trace. A direction the reference hardly varies in is taken for a thousandth as wide as the widest at least, so that
    rounding is not mistaken for novelty.

    Args:
        whitening: float32 ``[D, D]``, see `fit`.
        points: float32 ``[n, D]``, the reference's embeddings, whitened.
    """

    def __init__(self, whitening: Floats, points: Floats) -> None:
        self._whitening = whitening
        self._points = points
        self._transposed = np.ascontiguousarray(points.T)
        self._squares = np.einsum("nd,nd->n", points, points)
        self._nearest = min(NEAREST, max(1, len(points) - 1))

    @classmethod
    def fit(cls, vectors: Floats) -> Self:
        """Takes float32 ``[n, D]`` embeddings as the reference."""
        centred = vectors - vectors.mean(axis=0, dtype=np.float64)
        variances, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
        floor = max(float(variances[-1]) * _FLATTEST**2, float(np.finfo(np.float32).tiny))
        whitening = (axes / np.sqrt(variances.clip(floor))).astype(np.float32)
        return cls(whitening, vectors @ whitening)

    def distances(self, vectors: Floats) -> Floats:
        """Mean distance of float32 ``[m, D]`` embeddings to their nearest: float32 ``[m]``."""
        return self._means(vectors.astype(np.float32, copy=False) @ self._whitening, skipped=0)

    def own_distances(self) -> Floats:
        """The same of every reference embedding to its nearest others: float32 ``[n]``."""
        return self._means(self._points, skipped=1)

    def _means(self, points: Floats, *, skipped: int) -> Floats:
        found = np.empty(len(points), np.float32)
        for begin in range(0, len(points), _TOGETHER):
            part = points[begin : begin + _TOGETHER]
            squares = self._squares - 2.0 * (part @ self._transposed)
            squares += np.einsum("nd,nd->n", part, part)[:, None]
            last = min(self._nearest + skipped, squares.shape[1])
            nearest = np.partition(squares, last - 1, axis=1)[:, :last]
            if skipped:
                nearest = np.sort(nearest, axis=1)[:, skipped:]
            found[begin : begin + len(part)] = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1)
        return found
