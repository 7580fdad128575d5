"""Pictures of blurred colour, each unlike the others, made on the spot."""

import io

import numpy as np
from PIL import Image


def image(seed: int, side: int = 48) -> Image.Image:
    """Smooth colours: nearly nothing of it is lost when it is encoded again."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(made: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    made.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def files(each: int = 12) -> dict[str, bytes]:
    """Two sources of each class, equal in all that a file tells."""
    sources = ("fake/one", "fake/two", "real/one", "real/two")
    return {
        f"{source}/{number:02d}.jpg": encoded(image(1000 * place + number))
        for place, source in enumerate(sources)
        for number in range(each)
    }
