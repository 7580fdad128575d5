"""Delivery tiers: what happens to a picture between its maker and the upload.

``clean`` is a JPEG at quality 93 to 97 without chroma subsampling, ``web`` one at quality 56 to 64, as sites re-encode,
and ``hard`` is reduced to 0.55 to 0.65 of its size and encoded at quality 36 to 44. The quality is drawn anew for every
shot, for both labels alike.
"""

import io
from random import Random

from PIL import Image

_QUALITIES = {"clean": (93, 97), "web": (56, 64), "hard": (36, 44)}
_SHRINK = (0.55, 0.65)
_FULL_CHROMA = 0
_HALF_CHROMA = 2


def encode(image: Image.Image, tier: str, random: Random) -> bytes:
    """A JPEG of an RGB picture for one tier."""
    if tier == "hard":
        scale = random.uniform(*_SHRINK)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    jpeg = io.BytesIO()
    subsampling = _FULL_CHROMA if tier == "clean" else _HALF_CHROMA
    image.save(jpeg, "JPEG", quality=random.randint(*_QUALITIES[tier]), subsampling=subsampling)
    return jpeg.getvalue()
