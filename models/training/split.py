"""Which pictures are kept for validation: whole stems, and equal files on one side."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.pictures import UNNAMED, Item
from stream.errors import ConfigurationError

_PARTS = 1 << 16


def validation(items: Sequence[Item], share: float, seed: int) -> NDArray[np.bool_]:
    """Marks the pictures kept for validation, ``[N]``.

    A named source is split by stem, so that siblings stay together; pictures of no named source by their content, so
    that copies stay together whatever they are called. What a picture's side is depends on no other picture.

    Raises:
        ConfigurationError: One side has fewer than two pictures of a class.
    """
    kept = np.array([_place(item, seed) < share * _PARTS for item in items], bool)
    labels = np.array([item.label for item in items])
    for name, side in (("training", ~kept), ("validation", kept)):
        for label, words in ((0, "real"), (1, "fake")):
            if (found := int((labels[side] == label).sum())) < 2:  # noqa: PLR2004 - what a calibration needs
                raise ConfigurationError(
                    f"{found} {words} pictures are left for {name}",
                    where=f"validation: {share:g}",
                    remedy="Give more pictures, or change the share that is kept for validation.",
                )
    return kept


def _place(item: Item, seed: int) -> int:
    unnamed = item.source.partition("/")[2] == UNNAMED
    text = item.data if unnamed else f"{item.source}/{item.stem}".encode()
    return zlib.crc32(text, seed) % _PARTS
