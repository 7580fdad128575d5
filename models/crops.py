"""Cuts square crops out of a picture at its native resolution. Nothing is ever resized.

The first crop is the centre; each further one lies as far as possible from those already taken (farthest-point
traversal: T. Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985), over a grid of evenly spaced
places. Equal pictures give equal crops.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]

_GRID = 9


@lru_cache(maxsize=4096)
def positions(width: int, height: int, size: int, count: int) -> tuple[Box, ...]:
    """Where the crops lie, as (left, top, right, bottom) in pixels, right and bottom exclusive.

    A box ends at the picture's edge where the picture is smaller than a crop. A picture with room for fewer than
    ``count`` different places repeats them in order.

    Args:
        width: Of the picture.
        height: Of the picture.
        size: Side of a crop.
        count: How many, at least 1.
    """
    free_x, free_y = max(0, width - size), max(0, height - size)
    places = list(dict.fromkeys((x, y) for y in _spread(free_y) for x in _spread(free_x)))
    taken = [(free_x // 2, free_y // 2)]
    while len(taken) < min(count, len(places)):
        taken.append(max(places, key=lambda place: min(_distance(place, other) for other in taken)))
    chosen = [taken[number % len(taken)] for number in range(count)]
    return tuple((x, y, min(x + size, width), min(y + size, height)) for x, y in chosen)


def crops(pixels: npt.NDArray[np.uint8], size: int, count: int) -> npt.NDArray[np.uint8]:
    """Cuts ``count`` crops out of a picture.

    Args:
        pixels: uint8 ``[height, width, 3]``.
        size: Side of a crop in pixels. A side shorter than this is padded, on both ends, by reflection.
        count: How many, at least 1.

    Returns:
        uint8 ``[count, size, size, 3]``, in the order of `positions`.
    """
    height, width, _ = pixels.shape
    boxes = positions(width, height, size, count)
    if height < size or width < size:
        # Cut before padding: a long, thin picture is padded around its crops only.
        cut = [_padded(pixels[top:bottom, left:right], size) for left, top, right, bottom in boxes]
        return np.stack(cut)
    out = np.empty((count, size, size, 3), dtype=np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes):
        out[number] = pixels[top:bottom, left:right]
    return out


def _padded(crop: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    missing_y, missing_x = size - crop.shape[0], size - crop.shape[1]
    before_y, before_x = missing_y // 2, missing_x // 2
    return np.pad(crop, ((before_y, missing_y - before_y), (before_x, missing_x - before_x), (0, 0)), mode="reflect")


def _spread(free: int) -> list[int]:
    return [step * free // (_GRID - 1) for step in range(_GRID)]


def _distance(one: tuple[int, int], other: tuple[int, int]) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2
