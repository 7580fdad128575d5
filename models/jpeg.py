"""Reads a JPEG's segments up to its pixels (ITU-T T.81, annex B) and drops its metadata."""

import numpy as np
import numpy.typing as npt

from models.containers import Anatomy, Metadata
from stream.errors import ImageTooLarge, TruncatedImage

MAX_SCANS = 200
_MARKER = 0xFF
_SOS, _APP0, _EXIF, _ADOBE, _COMMENT, _EOI = 0xDA, 0xE0, 0xE1, 0xEE, 0xFE, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APPLICATION = range(0xE0, 0xF0)
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Least bits an 8×8 block takes: sequential, a DC and an end-of-block code; progressive, a DC code.
_BLOCK_BITS = {0xC0: 2, 0xC1: 2, 0xC2: 1}
_COLOUR_SEGMENT_BYTES = 64


def read_jpeg(data: bytes, metadata: Metadata) -> Anatomy:
    """Reads JPEG segments; JFIF and Adobe segments are kept, for they steer the colour conversion.

    Raises:
        TruncatedImage: A segment runs past the end, there is no frame or no scan, or the scans hold fewer bytes than a
            picture of the stated size must take.
        ImageTooLarge: Too much metadata, or more than `MAX_SCANS` scans, each of which costs a pass over the picture.
    """
    kept, at = [data[:2]], 2
    frame = b""
    while True:
        metadata.part(at)
        marker, at = _next_marker(data, at)
        if marker in _ALONE:
            continue
        if marker == _EOI:
            raise TruncatedImage("the JPEG holds no pixels", where=f"byte {at}")
        size = int.from_bytes(data[at : at + 2], "big")
        if size < 2 or at + size > len(data):  # noqa: PLR2004 - the size counts itself
            raise TruncatedImage(f"the JPEG ends inside its segment FF{marker:02X}", where=f"byte {at - 2}")
        if marker == _SOS:
            break
        segment = data[at - 2 : at + size]
        if marker in _FRAMES:
            if frame or size < 11:  # noqa: PLR2004 - precision, both sides, one component
                raise TruncatedImage("the JPEG's frame header cannot be read", where=f"byte {at - 2}")
            frame = segment
        elif marker in _APPLICATION or marker == _COMMENT:
            metadata.count(size, at)
            if marker == _EXIF and segment[4:10] == b"Exif\0\0":
                metadata.exif(segment[4:])
        if _steers_decoding(marker, segment):
            kept.append(segment)
        at += size
    if not frame:
        raise TruncatedImage("the JPEG has no frame header", where=f"byte {at}")
    height, width = int.from_bytes(frame[5:7], "big"), int.from_bytes(frame[7:9], "big")
    _check_scans(data[at:], _least_bytes(frame, width, height), at)
    kept.append(data[at - 2 :])
    return Anatomy("image/jpeg", width, height, 1, metadata.orientation, b"".join(kept))


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """The next marker and the offset after it; fill bytes and junk before it are skipped, as decoders do."""
    at = data.find(b"\xff", at)
    while at >= 0:
        while data[at : at + 1] == b"\xff":
            at += 1
        if at < len(data) and data[at]:
            return data[at], at + 1
        at = data.find(b"\xff", at)
    raise TruncatedImage("the JPEG ends before its pixels", where=f"byte {len(data)}")


def _steers_decoding(marker: int, segment: bytes) -> bool:
    if marker in (_APP0, _ADOBE):
        return len(segment) <= _COLOUR_SEGMENT_BYTES
    return marker not in _APPLICATION and marker != _COMMENT


def _first(markers: npt.NDArray[np.uint8], wanted: int) -> int:
    found = np.flatnonzero(markers == wanted)
    return int(found[0]) if found.size else len(markers)


def _least_bytes(frame: bytes, width: int, height: int) -> int:
    """Bytes below which no picture of this size can be coded; 0 where the first component is not the finest."""
    horizontal, vertical = zip(*((factor >> 4, factor & 15) for factor in frame[11::3]), strict=True)
    if horizontal[0] < max(horizontal) or vertical[0] < max(vertical):
        return 0
    return -(-width // 8) * -(-height // 8) * _BLOCK_BITS.get(frame[1], 0) // 8


def _check_scans(scans: bytes, least: int, at: int) -> None:
    # Byte stuffing keeps FFDA out of the coded data, so each one found is a scan (or lies after the picture's end).
    coded = np.frombuffer(scans, dtype=np.uint8)
    markers = coded[1:][coded[:-1] == _MARKER]
    count = 1 + int((markers[: _first(markers, _EOI)] == _SOS).sum())
    if count > MAX_SCANS:
        raise ImageTooLarge(f"the JPEG has {count} scans, more than {MAX_SCANS}", where=f"byte {at}")
    if len(scans) < least:
        what = f"the JPEG's header promises a picture of at least {least:,} coded bytes; {len(scans):,} are there"
        raise TruncatedImage(what, where=f"byte {at}")
