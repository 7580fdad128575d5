"""Which pictures a model may learn from and which it is tried on, so that nothing it is tried on was seen before.

Pictures of one *group* are never parted. Where ``metadata.csv`` names a ``stem``, the group is the stem within its
source, so that two crops of a photograph stay together; the source of a reconstruction is then the one it is a
``twin_of``, so that it stays with its photograph. Where no stem is named the group is the content, so that identical
pictures lie on one side. Sides are drawn by hashing the group: a picture stays where it is when others come or go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.pictures import Item
from stream.errors import ConfigurationError

Mask = NDArray[np.bool_]
Names = NDArray[np.str_]
Labels = NDArray[np.int64]

_REALS_OUT = 2


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """One generator and some sources of reals left out: ``train`` and ``test`` are ``[N]`` and share no group."""

    generator: str
    reals: tuple[str, ...]
    train: Mask
    test: Mask


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


def rotation(
    labels: Labels, sources: Names, groups: Names, *, reals: int = _REALS_OUT, seed: int = 0
) -> Iterator[Rotation]:
    """Leaves every source of fakes out in turn, together with ``reals`` sources of photographs.

    The sources of photographs take turns in an order drawn by the seed, so that each is left out about as often. What
    shares a group with a picture that is left out is in neither part.

    Args:
        labels: ``[N]``; 1 for machine-made.
        sources: ``[N]``, names.
        groups: ``[N]``, from `group`.
        reals: Sources of photographs left out at a time.
        seed: Of their order.

    Raises:
        ConfigurationError: Fewer than two sources of fakes, or none of photographs would remain.
    """
    fakes, authentic = np.unique(sources[labels == 1]), np.unique(sources[labels == 0])
    if len(fakes) < 2 or len(authentic) <= reals:  # noqa: PLR2004 - one stays, one goes
        raise ConfigurationError(
            f"No source can be left out: there are {len(fakes)} of fakes and {len(authentic)} of photographs",
            remedy=f"Give at least 2 sources of fakes and {reals + 1} of photographs, or split by stem.",
        )
    order = authentic[np.argsort(draw(authentic, seed), kind="stable")]
    for turn, generator in enumerate(fakes):
        out = tuple(str(order[(turn * reals + place) % len(order)]) for place in range(reals))
        test = np.isin(sources, [str(generator), *out])
        yield Rotation(str(generator), out, ~test & ~np.isin(groups, groups[test]), test)
