"""How far an embedding lies from the nearest of the reference's: large where the reference has nothing like it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drift.shift import Shift

Floats = npt.NDArray[np.float32]

NEAREST = 5
_TOGETHER = 512


class Neighbours:
    """Mean distance to the `NEAREST` reference embeddings, in directions scaled by their spread.

    Unscaled, the few directions in which pictures differ most would drown the many in which a generator leaves its
    trace.

    Args:
        shift: Scales the directions.
        vectors: float32 ``[n, D]``, the reference's embeddings.
    """

    def __init__(self, shift: Shift, vectors: Floats) -> None:
        self._shift = shift
        self._points = shift.whitened(vectors)
        self._transposed = np.ascontiguousarray(self._points.T)
        self._squares = np.einsum("nd,nd->n", self._points, self._points)
        self._nearest = min(NEAREST, max(1, len(vectors) - 1))

    def distances(self, vectors: Floats) -> Floats:
        """Mean distance of float32 ``[m, D]`` embeddings to their nearest: float32 ``[m]``."""
        return self._means(self._shift.whitened(vectors), skipped=0)

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
