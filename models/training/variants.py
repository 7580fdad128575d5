"""Degradations, drawn alike for both classes, so that size, codec and quality say nothing about the label.

Every picture gets the same distribution: rescaled by .4 to 1.3 with a random filter (at times to a thumbnail and back),
encoded again as JPEG or WebP at q30 to q96, cut to at most `SIDE`; crops are taken at random from the result.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.crops import crops as served

SIDE = 176
SMALLEST = 128
_SCALES = (0.4, 1.3)
_QUALITIES = (30, 97)
_UNSCALED = 0.5
_FILTERS = (
    Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.HAMMING,
)  # fmt: skip


def degrade(image: Image.Image, rng: np.random.Generator, size: int) -> Image.Image:
    """One degraded variant to cut crops of ``size`` pixels from, at least `SMALLEST` and at most `SIDE` wide and high.

    Where the crop is smaller than the one or larger than the other, its own size takes the place.
    """
    return Image.open(_degraded(image, rng, size)).convert("RGB")


def encoded(data: bytes, seed: int, *, size: int) -> bytes:
    """The first degraded variant of one picture that `crops` cuts from, as the file that it is encoded to."""
    with Image.open(io.BytesIO(data)) as opened:
        return _degraded(opened.convert("RGB"), _drawn(data, seed), size).getvalue()


def _degraded(image: Image.Image, rng: np.random.Generator, size: int) -> io.BytesIO:
    smallest, largest = min(size, SMALLEST), max(SIDE, size)
    side = min(image.size)
    if rng.random() > _UNSCALED:
        scale = max(float(rng.uniform(*_SCALES)), smallest / side)
        scaled = (max(smallest, round(image.width * scale)), max(smallest, round(image.height * scale)))
        image = image.resize(scaled, _FILTERS[int(rng.integers(1, len(_FILTERS)))])
    elif side < smallest:
        grow = smallest / side
        image = image.resize((round(image.width * grow) + 1, round(image.height * grow) + 1), _FILTERS[2])
    image = _cut(image, rng, largest)
    buffer = io.BytesIO()
    quality = int(rng.integers(*_QUALITIES))
    image.save(buffer, "WEBP" if rng.random() < 0.25 else "JPEG", quality=quality, method=0)  # noqa: PLR2004
    return buffer


def _drawn(data: bytes, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(data)])


def _cut(image: Image.Image, rng: np.random.Generator, side: int) -> Image.Image:
    width, height = min(side, image.width), min(side, image.height)
    left = int(rng.integers(image.width - width + 1))
    top = int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def crops(data: bytes, count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """``count`` degraded random crops of one picture.

    Args:
        data: The encoded picture.
        count: How many variants, one crop from each.
        size: Side of a crop.
        seed: Together with the bytes decides everything.

    Returns:
        uint8 ``[count, size, size, 3]``.
    """
    rng = _drawn(data, seed)
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    return np.stack([crop(image, rng, size) for _ in range(count)])


def crop(image: Image.Image, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """One random crop of one degraded variant, uint8 ``[size, size, 3]``.

    A variant may be smaller than a large crop, as uploads may; it is then padded as a worker would.
    """
    degraded = _cut(degrade(image, rng, size), rng, size)
    padded: NDArray[np.uint8] = served(np.asarray(degraded), size, 1)[0]
    return padded
