"""What a picture is sliced by: where it came from, and what its file and its pixels are like.

`source` and `generator` come from where the picture lies (a source of machine-made pictures counts as one generator
where ``metadata.csv`` names none), `original_format` and `original_size` from ``metadata.csv``, the rest from the file
itself, before any delivery. `collection`, the zip or folder, is added where pictures are scored.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from models.decode import Picture
from models.evaluation.pictures import Item

DIMENSIONS = (
    "source", "collection", "generator", "format", "original_format", "size", "original_size", "quality",
    "brightness",
)  # fmt: skip
_SIZES = (128, 256, 512, 1024, 2048)
_QUALITIES = ((95, "95-100"), (85, "85-94"), (70, "70-84"), (50, "50-69"), (0, "under-50"))
_BRIGHTNESS = ((192, "192-255"), (128, "128-191"), (64, "64-127"), (0, "0-63"))
_LUMA = np.array([0.299, 0.587, 0.114])
# ITU-T T.81, table K.1: the luminance steps that quality 50 stands for, row by row.
_STANDARD = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip
_QUALITY = np.arange(1, 101)
_SCALE = np.where(_QUALITY < 50, 5000 // _QUALITY, 200 - 2 * _QUALITY)  # noqa: PLR2004 - the library's own bend
_SUMS = ((_STANDARD * _SCALE[:, None] + 50) // 100).clip(1, 255).sum(1)


def slices(item: Item, picture: Picture) -> Mapping[str, str]:
    """The slice a picture belongs to, by dimension; a dimension that says nothing of it is left out."""
    name = item.source.partition("/")[2]
    found = {
        "source": name,
        "format": picture.media_type.partition("/")[2],
        "size": _size(max(picture.width, picture.height)),
        "quality": _quality(item.data, picture),
        "brightness": _above(brightness(picture), _BRIGHTNESS),
    }
    if item.label:
        found["generator"] = item.facts.get("generator", name)
    if original := item.facts.get("original_format"):
        found["original_format"] = original.lower()
    sides = [item.facts.get(f"original_{side}", "") for side in ("width", "height")]
    if all(side.isdecimal() for side in sides):
        found["original_size"] = _size(max(int(side) for side in sides))
    return found


def brightness(picture: Picture) -> float:
    """Mean luma, 0 to 255 (ITU-R BT.601)."""
    return float(picture.pixels.reshape(-1, 3).mean(axis=0) @ _LUMA)


def jpeg_quality(data: bytes) -> int:
    """The quality, 1 to 100, whose luminance table is nearest to a JPEG's own, by the sum of its steps.

    Tables are scaled as the Independent JPEG Group's library does; other encoders get the quality they resemble.
    """
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        tables: Mapping[int, list[int]] = getattr(image, "quantization")  # noqa: B009 - only a JPEG's class has it
        steps = sum(tables[min(tables)])
    return int(_QUALITY[np.abs(_SUMS - steps).argmin()])


def _quality(data: bytes, picture: Picture) -> str:
    return _above(jpeg_quality(data), _QUALITIES) if picture.media_type == "image/jpeg" else "no-jpeg"


def _size(long: int) -> str:
    lower = 1
    for upper in _SIZES:
        if long <= upper:
            return f"{lower}-{upper}"
        lower = upper + 1
    return f"over-{_SIZES[-1]}"


def _above(value: float, steps: tuple[tuple[int, str], ...]) -> str:
    return next(name for least, name in steps if value >= least)
