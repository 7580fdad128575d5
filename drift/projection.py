"""From an embedding to a few numbers that can be watched one by one.

Divergences of single columns need few columns, and a model's embedding has dozens that move together. So embeddings
are turned to the principal directions of the reference's, and what no direction holds is one number more: the length
of the remainder, where a kind of picture shows that the reference has nothing like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from stream.errors import MalformedEvent

Floats = npt.NDArray[np.float32]

COMPONENTS = 8
CLIPPED = 0.002
"""Share of the reference beyond the clip bounds, on each side of each column."""

_TWO_DIMENSIONS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Principal directions and the bounds that projected embeddings are clipped to. Make it with `fit`.

    One far outlier would stretch equal-width bins until they hold nothing else in detail; clipped, it counts in the
    outermost bin.

    Attributes:
        centre: float32 ``[D]``, the reference's mean.
        directions: float32 ``[D, K]``, orthonormal, most variance first.
        low: float32 ``[K + 1]``, least value of each component and of the remainder's length.
        high: float32 ``[K + 1]``, greatest.
    """

    centre: Floats
    directions: Floats
    low: Floats
    high: Floats

    @classmethod
    def fit(cls, vectors: Floats, *, components: int = COMPONENTS, clipped: float = CLIPPED) -> Self:
        """Finds the directions of float32 ``[n, D]`` embeddings; at most D and n − 1 of them."""
        centre = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - centre
        _, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
        kept = min(components, len(centre), max(1, len(vectors) - 1))
        directions = axes[:, ::-1][:, :kept]
        # An eigenvector's sign is arbitrary; the largest entry is made positive so that equal input gives equal output.
        directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(kept)])
        unclipped = _projected(vectors, centre.astype(np.float32), directions.astype(np.float32))
        low, high = np.quantile(unclipped, [clipped, 1.0 - clipped], axis=0).astype(np.float32)
        return cls(centre.astype(np.float32), directions.astype(np.float32), low, high)

    @property
    def dimensions(self) -> int:
        """Length D of the embeddings."""
        return len(self.centre)

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns of `apply` are called."""
        return (*(f"component {number + 1}" for number in range(self.directions.shape[1])), "residual")

    def apply(self, vectors: Floats) -> Floats:
        """Projects embeddings and clips: float32 ``[n, D]`` to ``[n, K + 1]``, the remainder's length last.

        Raises:
            MalformedEvent: The vectors have another length, or a number is not finite.
        """
        checked(vectors, self.dimensions)
        return np.clip(_projected(vectors, self.centre, self.directions), self.low, self.high)


def checked(vectors: npt.NDArray[np.floating], dimensions: int) -> None:
    """Refuses what are not embeddings of one model.

    Raises:
        MalformedEvent: Not ``[n, dimensions]``, or a number is not finite.
    """
    if vectors.ndim != _TWO_DIMENSIONS or vectors.shape[1] != dimensions:
        remedy = "Compare embeddings with the reference of the model that made them"
        raise MalformedEvent(f"embeddings {vectors.shape} where each has {dimensions} numbers", remedy=remedy)
    if not np.isfinite(vectors).all():
        raise MalformedEvent("an embedding holds a number that is not finite")


def _projected(vectors: Floats, centre: Floats, directions: Floats) -> Floats:
    centred = vectors.astype(np.float32, copy=False) - centre
    components = centred @ directions
    # Not by Pythagoras: the difference of two large squares would lose the small remainder.
    residual = np.linalg.norm(centred - components @ directions.T, axis=1, keepdims=True)
    return np.concatenate([components, residual], axis=1).astype(np.float32, copy=False)
