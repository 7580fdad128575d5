"""Decoded training pictures: kept while they fit into memory, decoded again each time where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from models.decode import Picture, decode
from models.evaluation.pictures import Item
from models.training.progress import SILENT, Listener
from stream.errors import ConfigurationError, ImageError

Pixels = NDArray[np.uint8]

KEPT_BYTES = 2 << 30
_AT_ONCE = 1024


class Store:
    """Pictures by number.

    Args:
        items: The labelled pictures.
        threads: That decode. Pillow releases the GIL.
        kept_bytes: Decoded pictures are kept up to this many bytes in all.
        listener: Is told after every picture.

    Raises:
        ConfigurationError: A picture cannot be decoded.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        threads: int = 1,
        kept_bytes: int = KEPT_BYTES,
        listener: Listener = SILENT,
    ) -> None:
        self._items = items
        self._kept: list[Pixels] = []
        room = kept_bytes
        listener.begin("decode", len(items))
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(items), _AT_ONCE):
                found = [picture.pixels for picture in pool.map(decoded, items[start : start + _AT_ONCE])]
                room -= sum(pixels.nbytes for pixels in found)
                if room < 0:
                    break
                self._kept += found
                listener.advance(len(found))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Pixels:
        """uint8 ``[height, width, 3]``; may be called from any thread."""
        return self._kept[number] if number < len(self._kept) else decoded(self._items[number]).pixels


def decoded(item: Item) -> Picture:
    """The picture.

    Raises:
        ConfigurationError: It cannot be decoded.
    """
    try:
        return decode(item.data)
    except ImageError as error:
        raise ConfigurationError(
            f"A picture cannot be decoded: {error.what}",
            where=f"{item.source}/{item.stem}",
            remedy="Take it out of the training set.",
        ) from error
