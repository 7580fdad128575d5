"""Small pictures for the tests of this package."""

import io
import random

from PIL import Image


def jpeg(seed: int = 0, size: int = 24, quality: int = 90) -> bytes:
    """A small JPEG of random blocks; another seed gives other pixels."""
    choose = random.Random(seed)
    image = Image.new("RGB", (4, 4))
    image.putdata([tuple(choose.randrange(256) for _ in range(3)) for _ in range(16)])
    file = io.BytesIO()
    image.resize((size, size)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def encoded(format_name: str) -> bytes:
    """A small picture in another format."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 60)).save(file, format_name)
    return file.getvalue()
