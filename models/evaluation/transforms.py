"""What should not change a verdict, and what is known to fool a detector.

*Metamorphic* tests pass a picture on as people and platforms do: mirrored, encoded again (JPEG quality 90), cut by a
few pixels (5 from the left, 3 from the top, so that JPEG's 8-pixel grid moves), without its metadata, through PNG, and
resized to 95 %. What it shows stays the same, so the verdict should.

*Failure modes* make of a photograph what a detector often calls machine-made: a shot in low light, a denoised one, a
scan of a print, a thumbnail. They are simulated, and only ever applied to authentic pictures.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from models.containers import Metadata, read_gif, read_png, read_webp
from models.decode import DecodeLimits, Picture, decode
from models.evaluation.delivery import encoded, resized
from models.jpeg import read_jpeg

Transform = Callable[[bytes, Picture], Picture]
_READERS = {"image/jpeg": read_jpeg, "image/png": read_png, "image/webp": read_webp, "image/gif": read_gif}
_SHIFT_X, _SHIFT_Y = 5, 3
_SLIGHTLY = 0.95
_WEBP_PIXEL_FLAGS = 0x12
_LIGHT, _NOISE = 0.3, 5.0
_PAPER, _INK = np.array([244.0, 240.0, 228.0]), 28.0
_THUMBNAIL = 128


def _mirrored(data: bytes, picture: Picture) -> Picture:
    del data
    return replace(picture, pixels=picture.pixels[:, ::-1])


def _encoded_again(data: bytes, picture: Picture) -> Picture:
    del data
    return encoded(resized(picture, 1), "JPEG", quality=90)


def _shifted(data: bytes, picture: Picture) -> Picture:
    del data
    pixels = picture.pixels[min(_SHIFT_Y, picture.height - 1) :, min(_SHIFT_X, picture.width - 1) :]
    return replace(picture, pixels=pixels, width=pixels.shape[1], height=pixels.shape[0])


def _without_metadata(data: bytes, picture: Picture) -> Picture:
    """The file with its metadata cut out, orientation too, decoded anew: a sideways photograph stays sideways."""
    bare = _READERS[picture.media_type](data, Metadata(DecodeLimits().max_metadata)).stripped
    return decode(_bare_webp(bare) if picture.media_type == "image/webp" else bare)


def _bare_webp(data: bytes) -> bytes:
    """A WebP without EXIF, XMP and colour profile, and without the flags that announce them (RFC 9649, 2.7)."""
    kept, at = b"", 12
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        end += end & 1
        chunk = data[at:end]
        if chunk.startswith(b"VP8X"):
            chunk = chunk[:8] + bytes([chunk[8] & _WEBP_PIXEL_FLAGS]) + chunk[9:]
        if not chunk.startswith((b"EXIF", b"XMP ", b"ICCP")):
            kept += chunk
        at = end
    return b"RIFF" + (len(kept) + 4).to_bytes(4, "little") + b"WEBP" + kept


def _through_png(data: bytes, picture: Picture) -> Picture:
    del data
    return encoded(resized(picture, 1), "PNG")


def _slightly_smaller(data: bytes, picture: Picture) -> Picture:
    del data
    pixels = np.asarray(resized(picture, _SLIGHTLY))
    return replace(picture, pixels=pixels, width=pixels.shape[1], height=pixels.shape[0])


def _low_light(data: bytes, picture: Picture) -> Picture:
    """Three tenths of the light, Gaussian sensor noise drawn by the file's checksum, JPEG quality 90."""
    noise = np.random.default_rng(zlib.crc32(data)).normal(0, _NOISE, picture.pixels.shape)
    return _jpeg(picture.pixels * _LIGHT + noise)


def _denoised(data: bytes, picture: Picture) -> Picture:
    """A 3×3 median, as strong noise reduction leaves a surface: flat, with its edges kept."""
    del data
    return encoded(resized(picture, 1).filter(ImageFilter.MedianFilter(3)), "JPEG", quality=90)


def _scan(data: bytes, picture: Picture) -> Picture:
    """A print on warm paper: blacks lifted, whites lowered, a blur of .8 pixel, JPEG quality 85."""
    del data
    blurred = np.asarray(resized(picture, 1).filter(ImageFilter.GaussianBlur(0.8)), np.float64)
    return _jpeg(_INK + blurred / 255 * (_PAPER - _INK), quality=85)


def _thumbnail(data: bytes, picture: Picture) -> Picture:
    """A long side of 128 pixels, or half of it where the picture is that small; JPEG quality 80."""
    del data
    long = max(picture.width, picture.height)
    return encoded(resized(picture, _THUMBNAIL / long if long > _THUMBNAIL else 0.5), "JPEG", quality=80)


def _jpeg(pixels: npt.NDArray[np.float64], quality: int = 90) -> Picture:
    return encoded(Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)), "JPEG", quality=quality)


METAMORPHIC: Mapping[str, Transform] = {
    "flip": _mirrored,
    "jpeg_q90": _encoded_again,
    "crop_shift": _shifted,
    "no_metadata": _without_metadata,
    "png": _through_png,
    "resize_95": _slightly_smaller,
}
FAILURE_MODES: Mapping[str, Transform] = {
    "low_light": _low_light,
    "denoised": _denoised,
    "scan": _scan,
    "thumbnail": _thumbnail,
}
