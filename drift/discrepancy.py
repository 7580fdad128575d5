"""Maximum mean discrepancy: one number for all directions at once, reported beside the divergences.

It sees a small shift of everything, which single columns miss, and hardly sees a small share of something new, which
is what the alarms are for; so it is a shadow statistic: reported with a threshold of its own, never alarmed on.
Squared, biased estimate with a Gaussian kernel whose width is the median distance (A. Gretton et al., "A kernel
two-sample test", JMLR 13, 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NAME = "mmd"
_SPLITS = 400
_PAIRS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Discrepancy:
    """The statistic against one reference. Make it with `fit`.

    Attributes:
        points: float32 ``[n, D]``, the reference's embeddings.
        width: The kernel's.
        within: Mean kernel between the reference's embeddings.
        sizes: int64 ``[S]``, window sizes that thresholds are known for, largest first.
        thresholds: float64 ``[S]``.
    """

    points: Floats
    width: float
    within: float
    sizes: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.float64]

    def of(self, vectors: Floats) -> float:
        """The squared discrepancy between the reference and a window, float32 ``[m, D]``."""
        own = _kernel(vectors, vectors, self.width).mean(dtype=np.float64)
        across = _kernel(self.points, vectors, self.width).mean(dtype=np.float64)
        return float(max(0.0, self.within + own - 2.0 * across))

    def threshold(self, size: int) -> float | None:
        """What a window of ``size`` must exceed; None where it is smaller than any that was calibrated."""
        fitting = self.thresholds[self.sizes <= size]
        return float(fitting[0]) if len(fitting) else None


def fit(vectors: Floats, *, n_reference: int, sizes: Sequence[int], alpha: float, seed: int) -> Discrepancy:
    """Chooses the kernel's width and calibrates a threshold for each window size by re-partition.

    Args:
        vectors: float32 ``[n, D]``; the first ``n_reference`` are the reference.
        n_reference: Rows of a reference.
        sizes: Rows of a window, largest first; the largest and the reference fit into ``vectors`` together.
        alpha: Share of unchanged windows that exceed the threshold.
        seed: Of the splits.
    """
    rng = np.random.default_rng(seed)
    reference = vectors[:n_reference]
    pairs = reference[rng.integers(len(reference), size=(2, _PAIRS))]
    width = float(np.median(np.linalg.norm(pairs[0] - pairs[1], axis=1))) or 1.0
    pool = vectors[: n_reference + sizes[0]]
    kernel = _kernel(pool, pool, width)
    found = [_threshold(kernel, n_reference, size, alpha, rng) for size in sizes]
    within = float(kernel[:n_reference, :n_reference].mean(dtype=np.float64))
    return Discrepancy(reference, width, within, np.array(sizes, np.int64), np.array(found, np.float64))


def _threshold(kernel: Floats, n_reference: int, size: int, alpha: float, rng: np.random.Generator) -> float:
    # With weight 1/n on one sample's rows and −1/m on the other's, the discrepancy is the quadratic form wᵀKw.
    weights = np.zeros((len(kernel), _SPLITS), np.float32)
    for split in weights.T:
        order = rng.permutation(len(kernel))
        split[order[:n_reference]] = 1.0 / n_reference
        split[order[n_reference : n_reference + size]] = -1.0 / size
    drawn = np.einsum("ns,ns->s", weights, kernel @ weights, dtype=np.float64)
    return float(np.quantile(drawn, 1.0 - alpha, method="higher"))


def _kernel(one: Floats, other: Floats, width: float) -> Floats:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * (one @ other.T)
    found: Floats = np.exp(np.maximum(squares, 0.0) / np.float32(-2.0 * width * width))
    return found
