"""Small real files of every kind that is opened, made on the spot."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    """An RGB picture in which every corner has its own colour."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 255 - across], axis=2).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def animation(kind: str, frames: int = 3) -> bytes:
    """An animation whose first frame is the gradient and whose others are black."""
    others = [Image.new("RGB", (48, 32), (0, 0, number)) for number in range(1, frames)]
    options = {"lossless": True} if kind == "WEBP" else {}
    return encoded(gradient(), kind, save_all=True, append_images=others, duration=40, **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    return png[:33] + chunk(kind, body) + png[33:]


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg: bytes, marker: int, body: bytes, times: int = 1) -> bytes:
    """A JPEG with more segments after its first marker."""
    return jpeg[:2] + segment(marker, body) * times + jpeg[2:]


def with_webp_chunk(webp: bytes, kind: bytes, body: bytes) -> bytes:
    """A WebP with one more chunk at its end."""
    whole = webp[12:] + kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
    return b"RIFF" + struct.pack("<I", len(whole) + 4) + b"WEBP" + whole


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header lies about its size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def exif(orientation: int) -> bytes:
    """An EXIF block that holds an orientation only."""
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes()
