"""Which pictures a model may learn from and which it is tried on, so that nothing it is tried on was seen before.

Pictures of one *group* are never parted. Where ``metadata.csv`` names a ``stem``, the group is the stem within its
source, so that two crops of a photograph stay together; the source of a reconstruction is then the one it is a
``twin_of``, so that it stays with its photograph. Where no stem is named the group is the content, so that identical
pictures lie on one side. Sides are drawn by hashing the group: a picture stays where it is when others come or go.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from models.evaluation.pictures import Item

Mask = NDArray[np.bool_]
Names = NDArray[np.str_]
Labels = NDArray[np.int64]


def group(item: Item) -> str:
    """The group of a picture; see the module."""
    stem, twin_of = item.facts.get("stem"), item.facts.get("twin_of")
    if not stem:
        return f"sha256:{hashlib.sha256(item.data).hexdigest()}"
    return f"stem:{f'real/{twin_of}' if twin_of else item.source}/{stem}"


def draw(groups: Names, seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each picture, the same within a group, evenly spread over groups."""
    names, place = np.unique(groups, return_inverse=True)
    drawn = [int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:6], "big") / 2**48 for name in names]
    return np.array(drawn)[place]


def held_out(groups: Names, share: float, *, seed: int) -> Mask:
    """Marks about ``share`` of the groups, whole ones only."""
    return np.asarray(draw(groups, seed) < share)
