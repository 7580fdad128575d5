"""What each picture counts, so that neither a large source nor a large class drowns the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def source_weights(
    labels: NDArray[np.int64], sources: NDArray[np.str_], simulated: NDArray[np.bool_] | None = None, share: float = 0.2
) -> NDArray[np.float64]:
    """Weight of each picture: inverse square root of its source's size, both classes equal in sum, mean 1.

    Args:
        labels: ``[N]``.
        sources: ``[N]``.
        simulated: Marks simulated scenes, which have ``share`` of each class's weight wherever there are others.
        share: Of the scenes.
    """
    marked = np.zeros(len(labels), bool) if simulated is None else simulated
    _, place, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(sizes[place])
    for label in (0, 1):
        groups = [((labels == label) & marked, share), ((labels == label) & ~marked, 1 - share)]
        filled = [(group, part) for group, part in groups if group.any()]
        for group, part in filled:
            weight[group] *= len(labels) / 2 * part / sum(each for _, each in filled) / weight[group].sum()
    return np.asarray(weight, np.float64)
