"""One's own pictures as traffic: a folder or zip in ImageFolder layout, ``real/[SOURCE/]…`` and ``fake/[SOURCE/]…``."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
from random import Random

import numpy as np
from numpy.typing import NDArray

from models.decode import decode
from producers.sources import Entry, Source
from producers.traffic.pictures import Subject
from producers.traffic.scenario import TRAINED
from producers.traffic.scenes import deliver
from stream.errors import ConfigurationError, ImageError, NotAnImage
from stream.events import TruthName
from stream.settings import MIB

_LABELS: Mapping[str, TruthName] = {"real": "authentic", "fake": "ai_generated"}
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_MAX_BYTES = 20 * MIB
_MAX_CROP = 16


class ImageFolder:
    """Pictures of a source, by label and by the name of the folder they lie in.

    Each family is gone through in random order before any of its pictures comes again. The first time, tier ``clean``
    is the file's own bytes; every other delivery decodes it, crops up to 16 pixels off each side (a sixteenth of the
    side at most) and encodes it anew.

    Args:
        source: Where they lie; stays open.

    Raises:
        ConfigurationError: There is no picture in this layout.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._entries: dict[tuple[TruthName, str], list[Entry]] = defaultdict(list)
        self._left: dict[tuple[TruthName, str], list[int]] = defaultdict(list)
        self._delivered: set[Subject] = set()
        for entry in source.entries():
            if isinstance(entry, Entry) and (place := _place(entry.path)):
                self._entries[place].append(entry)
        if not self._entries:
            remedy = "It needs pictures under real/ and fake/, such as real/camera/1.jpg and fake/some-generator/1.jpg"
            raise ConfigurationError("no pictures in ImageFolder layout", where=source.name, remedy=remedy)

    def families(self) -> Mapping[str, tuple[str, ...]]:
        """The folders under ``fake/``; all of them count as `trained`, for nobody knows what they are to the model."""
        own = tuple(sorted(family for label, family in self._entries if label == "ai_generated"))
        return {**{family: (family,) for family in own}, TRAINED: own}

    def subject(self, label: TruthName, family: str | None, random: Random) -> Subject:
        """Draws the next picture of a family; photographs are drawn from all folders by their size."""
        if family is None:
            families = [name for where, name in self._entries if where == label]
            if not families:
                what = "there are no photographs, and the scenario asks for some"
                raise ConfigurationError(what, where=self._source.name, remedy="Add real/, or set fake_share: 1")
            family = random.choices(families, [len(self._entries[label, name]) for name in families])[0]
        left = self._left[label, family]
        if not left:
            left.extend(range(len(self._entries[label, family])))
            random.shuffle(left)
        return Subject(label, family, left.pop())

    def shoot(self, subject: Subject, tier: str, random: Random) -> bytes:
        """Delivers a picture.

        Raises:
            NotAnImage: The file cannot be decoded.
        """
        entry = self._entries[subject.label, subject.family][subject.number]
        data = self._source.read(entry, limit=_MAX_BYTES)
        first = subject not in self._delivered
        self._delivered.add(subject)
        if first and tier == "clean":
            return data
        try:
            pixels = decode(data).pixels
        except ImageError as error:
            raise NotAnImage(f"the picture cannot be decoded: {error}", where=entry.path) from error
        return deliver(_cropped(pixels, random), tier)


def _place(path: str) -> tuple[TruthName, str] | None:
    # `real` and `fake` may lie inside one enclosing folder, as zips of a folder have it.
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).suffix.lower() not in _SUFFIXES:
        return None
    for depth in (0, 1):
        if len(parts) > depth + 1 and parts[depth] in _LABELS:
            return _LABELS[parts[depth]], parts[depth + 1] if len(parts) > depth + 2 else parts[depth]
    return None


def _cropped(pixels: NDArray[np.uint8], random: Random) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    margin = min(_MAX_CROP, min(height, width) // 16)
    top, bottom, left, right = (random.randint(0, margin) for _ in range(4))
    return pixels[top : height - bottom, left : width - right]
