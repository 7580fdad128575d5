"""One pass over the pictures: what each is, and nothing of its pixels kept but a fingerprint."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.dataset.fingerprints import BITS, coefficients, thumbnail
from models.dataset.splits import group
from models.decode import decode
from models.evaluation.pictures import Collection, Entry, Item
from models.evaluation.slices import jpeg_quality
from stream.errors import ImageError

Advance = Callable[[str, int, int], None]
"""Is told the stage, what is done of it, and what there is to do."""

_CHUNK = 1024
_TOLD_EVERY = 64


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What an encoded picture tells without its pixels: pixels a side, format, JPEG quality (else NaN), bytes a pixel.

    These are what the leak probe may look at.
    """

    width: int
    height: int
    format: str
    quality: float
    bytes_per_pixel: float

    @classmethod
    def of(cls, data: bytes) -> Traits:
        """Reads an encoded picture's header."""
        with Image.open(io.BytesIO(data)) as image:
            width, height, kind = image.width, image.height, str(image.format)
        quality = float(jpeg_quality(data)) if kind == "JPEG" else float("nan")
        return cls(width, height, kind, quality, len(data) / (width * height))


@dataclass(frozen=True, slots=True)
class Found:
    """One picture as it was found; ``fault`` says why it cannot be decoded, and then there are no traits."""

    collection: str
    entry: Entry
    group: str
    stem: str
    twin_of: str
    licence: str
    original: tuple[str, str, str]
    sha256: str
    traits: Traits | None
    fault: str


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """All pictures in order, and ``coefficients`` float32 ``[N, 64]``, zeros where one cannot be decoded."""

    pictures: tuple[Found, ...]
    coefficients: NDArray[np.float32]


def survey(collections: Sequence[Collection], advance: Advance = silent) -> Survey:
    """Reads every picture once.

    Raises:
        ConfigurationError: A zip breaks in its middle.
    """
    total = sum(len(collection.entries) for collection in collections)
    pictures: list[Found] = []
    spectra: list[NDArray[np.float32]] = []
    thumbnails: list[NDArray[np.uint8]] = []
    for name, entry, item in _read(collections):
        found, pixels = _look(name, entry, item)
        pictures.append(found)
        thumbnails.append(pixels)
        if len(thumbnails) == _CHUNK or len(pictures) == total:
            spectra.append(coefficients(np.stack(thumbnails)))
            thumbnails.clear()
        if len(pictures) % _TOLD_EVERY == 0 or len(pictures) == total:
            advance("pictures", len(pictures), total)
    return Survey(tuple(pictures), np.concatenate(spectra) if spectra else np.zeros((0, BITS), np.float32))


def _read(collections: Sequence[Collection]) -> Iterator[tuple[str, Entry, Item]]:
    for collection in collections:
        for entry, item in zip(collection.entries, collection.items(), strict=True):
            yield collection.path.name, entry, item


def _look(name: str, entry: Entry, item: Item) -> tuple[Found, NDArray[np.uint8]]:
    pixels = np.zeros((32, 32), np.uint8)
    traits, fault = None, ""
    try:
        pixels = thumbnail(decode(item.data).pixels)
        traits = Traits.of(item.data)
    except ImageError as error:
        fault = f"{type(error).__name__}: {error.what}"
    facts = item.facts
    original = (facts.get("original_width", ""), facts.get("original_height", ""), facts.get("original_format", ""))
    found = Found(
        collection=name, entry=entry, group=group(item), stem=facts.get("stem", ""), twin_of=facts.get("twin_of", ""),
        licence=facts.get("licence", ""), original=original,
        sha256=hashlib.sha256(item.data).hexdigest(), traits=traits, fault=fault,
    )  # fmt: skip
    return found, pixels
