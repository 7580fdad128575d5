"""Reads an image file's container, without decoding a pixel, and says what a decoder would be in for.

Dimensions, frames, metadata and EXIF orientation come from here, so that every limit holds before a decoder allocates
anything, and so that the decoder is given a file without metadata: what it never sees cannot be a bomb, raise a
warning or steer it to another format. PNG follows the W3C specification, WebP RFC 9649, GIF the 89a specification;
JPEG is in `models.jpeg`.
"""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Literal

from stream.errors import ImageTooLarge, TruncatedImage

MAX_PARTS = 100_000
_PNG_HEAD = 8
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_DEFLATED = {b"iCCP": 2, b"zTXt": 2, b"iTXt": 3}
_IHDR_BYTES = 13
_LARGEST_CHUNK = 0x7FFFFFFF
_ORIENTATION_TAG, _SHORT = 0x0112, 3
_ORIENTATIONS = range(1, 9)

MediaType = Literal["image/jpeg", "image/png", "image/webp", "image/gif"]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What a container says of its first frame.

    ``width`` and ``height`` are as stored, before ``orientation`` (EXIF, 1 to 8) is applied; ``stripped`` is the file
    as the decoder gets it.
    """

    media_type: MediaType
    width: int
    height: int
    frames: int
    orientation: int
    stripped: bytes


@dataclass(slots=True)
class Metadata:
    """Counts metadata, inflated, against a limit in bytes, and parts; keeps the first orientation found."""

    limit: int
    orientation: int = 1
    _bytes: int = field(default=0, init=False)
    _parts: int = field(default=0, init=False)
    _found: bool = field(default=False, init=False)

    def part(self, at: int) -> None:
        """Counts one chunk, segment or block, each of which costs a step of Python.

        Raises:
            ImageTooLarge: The file is in more than `MAX_PARTS` parts.
        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ImageTooLarge(f"the file is in more than {MAX_PARTS:,} parts", where=f"byte {at}")

    def count(self, size: int, at: int) -> None:
        """Adds ``size`` bytes that begin at offset ``at``.

        Raises:
            ImageTooLarge: The file's metadata is over the limit.
        """
        self._bytes += size
        if self._bytes > self.limit:
            raise ImageTooLarge(f"the picture carries more than {self.limit:,} bytes of metadata", where=f"byte {at}")

    def inflate(self, data: bytes, at: int) -> None:
        """Adds what a zlib stream would inflate to, inflating no further than the limit."""
        try:
            self.count(len(zlib.decompressobj().decompress(data, self.limit - self._bytes + 1)), at)
        except zlib.error:
            self.count(len(data), at)

    def exif(self, data: bytes) -> None:
        """Takes the orientation of the first EXIF block."""
        if not self._found:
            self._found, self.orientation = True, orientation(data)


def orientation(exif: bytes) -> int:
    """The orientation (1 to 8) in an EXIF block, or 1: TIFF 6.0, first directory, tag 0x0112."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if kind == _SHORT and value in _ORIENTATIONS else 1
    except struct.error:
        return 1
    return 1


def read_png(data: bytes, metadata: Metadata) -> Anatomy:
    """Reads PNG chunks; animation chunks are dropped, which leaves the default image.

    Raises:
        TruncatedImage: A chunk runs past the end, a needed chunk is missing or its checksum is wrong.
        ImageTooLarge: Too much metadata, inflated.
    """
    kept, frames, at, kind = [data[:_PNG_HEAD]], 1, _PNG_HEAD, b""
    seen: set[bytes] = set()
    while kind != b"IEND":
        metadata.part(at)
        if at + 12 > len(data):
            raise TruncatedImage("the PNG ends before its last chunk", where=f"byte {len(data)}")
        size, kind = struct.unpack_from(">I4s", data, at)
        body, end = at + 8, at + 12 + size
        if size > _LARGEST_CHUNK or end > len(data):
            raise TruncatedImage(f"the PNG ends inside its {_printable(kind)} chunk", where=f"byte {at}")
        if kind in _CRITICAL:
            if (not seen) != (kind == b"IHDR") or (kind == b"IHDR" and size != _IHDR_BYTES):
                raise TruncatedImage("the PNG does not begin with one header", where=f"byte {at}")
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise TruncatedImage(f"the checksum of the PNG's {_printable(kind)} chunk is wrong", where=f"byte {at}")
            seen.add(kind)
            kept.append(data[at:end])
        elif kind == b"acTL" and size >= _PNG_HEAD:
            frames = max(1, int.from_bytes(data[body : body + 4], "big"))
        elif kind == b"eXIf":
            metadata.count(size, at)
            metadata.exif(data[body : body + size])
        elif kind in _DEFLATED:
            metadata.inflate(_deflated(data[body : body + size], _DEFLATED[kind]), at)
        elif kind not in (b"fcTL", b"fdAT"):
            metadata.count(size, at)
        at = end
    if b"IDAT" not in seen:
        raise TruncatedImage("the PNG holds no pixels", where=f"byte {at}")
    width, height = struct.unpack_from(">II", data, 16)
    return Anatomy("image/png", width, height, frames, metadata.orientation, b"".join(kept))


def read_webp(data: bytes, metadata: Metadata) -> Anatomy:
    """Reads WebP chunks.

    Raises:
        TruncatedImage: The file is shorter than it says, or holds no picture.
        ImageTooLarge: Too much metadata.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise TruncatedImage(f"the WebP says it has {end:,} bytes", where=f"byte {len(data)}")
    at, frames, canvas, stored = 12, 0, None, None
    while at + 8 <= end:
        metadata.part(at)
        kind, size = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : min(at + 8 + size, end)]
        if len(body) < size:
            raise TruncatedImage(f"the WebP ends inside its {_printable(kind)} chunk", where=f"byte {at}")
        if kind == b"VP8X" and size >= 10:  # noqa: PLR2004 - the chunk's fixed size
            canvas = _little(body[4:7]) + 1, _little(body[7:10]) + 1
        elif kind == b"VP8 " and size >= 10:  # noqa: PLR2004 - frame tag, start code and both sides
            stored = _little(body[6:8]) & 0x3FFF, _little(body[8:10]) & 0x3FFF
        elif kind == b"VP8L" and size >= 5:  # noqa: PLR2004 - signature and both sides
            bits = _little(body[1:5])
            stored = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"ANMF":
            frames += 1
        elif kind != b"ALPH":
            metadata.count(size, at)
            if kind == b"EXIF":
                metadata.exif(body)
        at += 8 + size + (size & 1)
    sides = canvas or stored
    if sides is None or (stored is None and frames == 0):
        raise TruncatedImage("the WebP holds no picture", where=f"byte {at}")
    return Anatomy("image/webp", *sides, max(1, frames), metadata.orientation, data[:end])


def read_gif(data: bytes, metadata: Metadata) -> Anatomy:
    """Reads GIF blocks up to the trailer, counting frames; what follows the first frame is dropped.

    Raises:
        TruncatedImage: The first frame is not there, or a block runs past the end.
        ImageTooLarge: Too much metadata.
    """
    if len(data) < 13:  # noqa: PLR2004 - signature and screen descriptor
        raise TruncatedImage("the GIF ends inside its header", where=f"byte {len(data)}")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames, first_end = 13 + _palette(flags), 0, 0
    while at < len(data) and data[at : at + 1] != b";":
        metadata.part(at)
        if data[at : at + 1] == b",":
            if at + 10 > len(data):
                raise TruncatedImage("the GIF ends inside a frame's header", where=f"byte {at}")
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            at = _skip_blocks(data, at + 11 + _palette(flags))
            if not frames:
                width, height, first_end = max(width, left + wide), max(height, top + high), at
            frames += 1
        elif data[at : at + 1] == b"!":
            begin, at = at, _skip_blocks(data, at + 2)
            metadata.count(at - begin, begin)
        else:
            raise TruncatedImage("the GIF breaks between two blocks", where=f"byte {at}")
    if at >= len(data):
        raise TruncatedImage("the GIF ends before its trailer", where=f"byte {len(data)}")
    if not frames:
        raise TruncatedImage("the GIF holds no picture", where=f"byte {at}")
    return Anatomy("image/gif", width, height, frames, 1, data[:first_end] + b";")


def _deflated(body: bytes, zeros: int) -> bytes:
    """What follows the keyword and its fellows in a PNG text or profile chunk: the zlib stream."""
    if zeros == 2:  # noqa: PLR2004 - keyword, zero, method
        return body[body.find(b"\0") + 2 :]
    keyword = body.find(b"\0")
    language = body.find(b"\0", keyword + 3)
    return body[body.find(b"\0", language + 1) + 1 :]


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _printable(kind: bytes) -> str:
    return kind.decode("ascii", errors="replace").strip()
