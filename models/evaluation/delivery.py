"""How a picture reaches a platform: three delivery tiers.

* ``clean``: the file's own pixels.
* ``web``: reduced to a long side of at most 768 pixels, then JPEG at quality 60.
* ``hard``: reduced to .6 of its size or to a long side of 512 pixels, whichever is the smaller, then JPEG at quality
  40. A picture of 853 pixels and more therefore ends at 512; a small one, such as a 224-pixel crop, loses as large a
  share as a middling one would (it becomes 134 pixels) and not nothing.

Reductions are bicubic with Pillow's antialiasing, JPEGs Pillow's own (4:2:0 chroma); nothing is ever enlarged.
"""

from __future__ import annotations

import io
from typing import Literal, get_args

import numpy as np
from PIL import Image

from models.decode import Picture, decode

Tier = Literal["clean", "web", "hard"]
TIERS: tuple[Tier, ...] = get_args(Tier)
_LONG_SIDE = {"web": 768, "hard": 512}
_REDUCTION = {"web": 1.0, "hard": 0.6}
_QUALITY = {"web": 60, "hard": 40}


def delivered(picture: Picture, tier: Tier) -> Picture:
    """The picture as this tier brings it."""
    if tier == "clean":
        return picture
    scale = min(_REDUCTION[tier], _LONG_SIDE[tier] / max(picture.width, picture.height))
    return encoded(resized(picture, scale), "JPEG", quality=_QUALITY[tier])


def resized(picture: Picture, scale: float) -> Image.Image:
    """The picture at ``scale`` times its size, bicubic; no side falls under one pixel."""
    image = Image.fromarray(np.ascontiguousarray(picture.pixels))
    if scale == 1:
        return image
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: Literal["JPEG", "PNG"], *, quality: int = 90) -> Picture:
    """What comes back after the image was saved and opened again, through the same guarded door as an upload."""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality, compress_level=1)  # either format ignores the other's option
    return decode(buffer.getvalue())
