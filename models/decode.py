"""From untrusted bytes to pixels: one guarded door for every picture.

JPEG, PNG, WebP and GIF are known by their magic bytes and nothing else is opened. The container is read first
(`models.containers`), so every limit holds before a pixel is decoded. What comes out is always 8-bit RGB:

* EXIF orientation is applied;
* 16-bit samples keep their upper 8 bits, palettes and grey become RGB, CMYK is converted without a colour profile;
* transparency is laid over white, as most viewers show it;
* of an animated GIF the first frame is decoded and the others are counted; animated PNG and WebP are refused, because
  a verdict on one frame would speak for all of them, and a WebP's frames can only be had at eight bytes a pixel.

Pixels are never scaled: scaling erases the traces that the network reads.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from models.containers import Anatomy, MediaType, Metadata, read_gif, read_png, read_webp
from models.jpeg import read_jpeg
from stream.errors import (
    AnimatedImage,
    ConfigurationError,
    ImageTooLarge,
    MediaTypeMismatch,
    NotAnImage,
    TruncatedImage,
)

MIB = 1 << 20
_MAGIC_BYTES = 16
_LARGEST_PIXELS = 89_478_485  # above it Pillow warns instead of failing
_SYNONYMS = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
}
_READERS = {"image/jpeg": read_jpeg, "image/png": read_png, "image/webp": read_webp, "image/gif": read_gif}
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/gif": "GIF"}
_BAND_PIXELS = 1 << 22
_AXES_SWAPPED, _ROWS_FLIPPED, _COLUMNS_FLIPPED = {5, 6, 7, 8}, {3, 4, 7, 8}, {2, 3, 6, 7}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What may be opened: bytes of the file, pixels of a frame, bytes of metadata (inflated)."""

    max_bytes: int = 20 * MIB
    max_pixels: int = 50_000_000
    max_metadata: int = 4 * MIB

    def __post_init__(self) -> None:
        if self.max_pixels > _LARGEST_PIXELS:
            raise ConfigurationError(f"max_pixels is {self.max_pixels:,}; at most {_LARGEST_PIXELS:,} can be kept")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture.

    ``pixels`` is uint8 ``[height, width, 3]``, RGB, upright, read-only. ``frames`` counts an animation's frames.
    """

    pixels: npt.NDArray[np.uint8]
    media_type: MediaType
    width: int
    height: int
    frames: int


def decode(data: bytes, media_type: str | None = None, limits: DecodeLimits = DecodeLimits()) -> Picture:
    """Decodes a picture. Releases the GIL while Pillow decodes.

    Args:
        data: The file.
        media_type: What the event says it is; None when it does not say.
        limits: What may be opened.

    Raises:
        NotAnImage: No bytes, or not a JPEG, PNG, WebP or GIF.
        MediaTypeMismatch: It is one of these, but not the one the event says.
        ImageTooLarge: Over a limit.
        AnimatedImage: A PNG or WebP of several frames.
        TruncatedImage: The file ends or breaks before its picture does.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the file has {len(data):,} bytes, more than {limits.max_bytes:,}")
    found = _recognise(data)
    if media_type is not None and _plain(media_type) != found:
        raise MediaTypeMismatch(f"the event says {media_type} and the bytes are {found}")
    anatomy = _READERS[found](data, Metadata(limits.max_metadata))
    if anatomy.width == 0 or anatomy.height == 0:
        raise TruncatedImage(f"the header says {anatomy.width}×{anatomy.height} pixels")
    if anatomy.width * anatomy.height > limits.max_pixels:
        what = f"the picture has {anatomy.width}×{anatomy.height} pixels, more than {limits.max_pixels:,} in all"
        raise ImageTooLarge(what)
    if anatomy.frames > 1 and found != "image/gif":
        what = f"the picture is an animation of {anatomy.frames} frames"
        raise AnimatedImage(
            what, remedy="Of animations only a GIF's first frame is judged; send the frame that matters"
        )
    pixels = _pixels(anatomy)
    pixels.setflags(write=False)
    height, width, _ = pixels.shape
    return Picture(pixels, found, width, height, anatomy.frames)


def _recognise(data: bytes) -> MediaType:
    if not data:
        raise NotAnImage("there are no bytes")
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    head = data[:_MAGIC_BYTES].hex(" ")
    raise NotAnImage(f"the bytes are not JPEG, PNG, WebP or GIF; they begin with {head}", where="byte 0")


def _plain(media_type: str) -> str:
    name = media_type.partition(";")[0].strip().lower()
    return _SYNONYMS.get(name, name)


def _pixels(anatomy: Anatomy) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(anatomy.stripped), formats=[_FORMATS[anatomy.media_type]]) as image:
            if image.size != (anatomy.width, anatomy.height):
                raise TruncatedImage(
                    f"the header says {anatomy.width}×{anatomy.height} pixels and the data {image.size}"
                )
            image.load()
            return _upright(_converted(image), anatomy.orientation)
    except UnidentifiedImageError as error:
        raise TruncatedImage(f"the {anatomy.media_type} header cannot be read") from error
    except MemoryError as error:
        raise ImageTooLarge(f"no memory for {anatomy.width}×{anatomy.height} pixels") from error
    except _BROKEN as error:
        raise TruncatedImage(f"the {anatomy.media_type} breaks before its picture ends: {error}") from error


def _converted(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The picture as RGB; a large one in bands, so that conversions cost a band and not a second picture."""
    rows = max(1, _BAND_PIXELS // image.width)
    if rows >= image.height:
        return np.asarray(_rgb(image))
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(_rgb(band))
    return pixels


def _upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Applies an EXIF orientation (TIFF 6.0, tag 274) as a view: 5 to 8 swap the axes, then rows and columns flip."""
    if orientation in _AXES_SWAPPED:
        pixels = pixels.swapaxes(0, 1)
    vertical = -1 if orientation in _ROWS_FLIPPED else 1
    horizontal = -1 if orientation in _COLUMNS_FLIPPED else 1
    return pixels[::vertical, ::horizontal]


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        upper = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(upper.clip(0, 255).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in {"RGBA", "LA", "PA"}:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return rgba.convert("RGB")
    return image.convert("RGB")
