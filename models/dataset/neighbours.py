"""All pairs of hashes that differ in a few bits, without comparing all pairs.

The bits are cut into ``distance + 3`` blocks. Two hashes that differ in at most ``distance`` bits agree in at least
three whole blocks, so sorting by every choice of three blocks puts them beside each other (Manku, Jain and Das Sarma,
"Detecting near-duplicates for web crawling", 2007). A hundred thousand hashes of real pictures take about a second.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]

_BITS = 64
_AGREEING = 3


def near(hashes: Hashes, distance: int) -> Pairs:
    """Pairs of places whose hashes differ in at most ``distance`` bits.

    Of equal hashes the first stands for all: it is paired with each of the others, and alone with its neighbours, so
    that a picture that is there ten thousand times costs ten thousand pairs and not fifty million. The pairs connect
    what is connected all the same.

    Args:
        hashes: uint64 ``[N]``.
        distance: Bits.

    Returns:
        int64 ``[P, 2]``, the smaller place first, sorted, no pair twice.
    """
    distinct, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    later = np.setdiff1d(np.arange(len(hashes)), first)
    found = [np.stack([first[place[later]], later], axis=1)]
    for mask in _masks(distance):
        found.extend(first[pairs] for pairs in _agreeing(distinct, mask, distance))
    return np.unique(np.sort(np.concatenate(found).astype(np.int64), axis=1), axis=0)


def _masks(distance: int) -> list[np.uint64]:
    blocks = np.array_split(np.arange(_BITS), distance + _AGREEING)
    return [
        np.uint64(sum(1 << int(bit) for block in chosen for bit in block)) for chosen in combinations(blocks, _AGREEING)
    ]


def _agreeing(hashes: Hashes, mask: np.uint64, distance: int) -> list[Pairs]:
    """Near pairs among those that agree under the mask: neighbours in sorted order, then those two apart, and so on."""
    keys = hashes & mask
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    at = np.arange(len(keys))
    found: list[Pairs] = []
    for apart in range(1, len(keys)):
        at = at[at + apart < len(keys)]
        at = at[keys[at] == keys[at + apart]]
        if not at.size:
            break
        pairs = np.stack([order[at], order[at + apart]], axis=1)
        differing = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
        found.append(pairs[differing <= distance])
    return found
