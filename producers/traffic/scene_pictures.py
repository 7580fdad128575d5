"""The built-in scenes as traffic: a few dozen rendered at the start, each upload a crop of one of them.

A scene takes about 90 ms to render, far too long for every upload. So each family has a small pool of pictures, a
little larger than what is uploaded; a shot is a random crop, encoded for its tier: one of 2,401 for each picture and
tier. Shots of one picture differ in pixels and bytes but show the same scene, so intervals over many uploads, which
take them for independent, are too narrow.
"""

import zlib
from collections.abc import Mapping
from random import Random

import numpy as np
from numpy.typing import NDArray

from producers.traffic.pictures import Subject
from producers.traffic.scenario import TRAINED, UNSEEN
from producers.traffic.scenes import CAMERA, TRAINED_FAMILIES, UNSEEN_FAMILIES, deliver, machine_made, photograph
from stream.events import TruthName

SIZE = 512
_MARGIN = 48
# Scenes of traffic must be none that a model was trained on; training counts its seeds up from 0.
_FIRST_SEED = 1 << 31


class ScenePictures:
    """Simulated photographs and machine-made pictures, 512 pixels square (smaller in tier ``hard``).

    Args:
        photographs: How many photographs there are.
        per_family: How many pictures each family has.
    """

    def __init__(self, *, photographs: int = 36, per_family: int = 6) -> None:
        self._photographs = photographs
        self._per_family = per_family
        self._rendered: dict[Subject, NDArray[np.uint8]] = {}

    def prepare(self) -> None:
        """Renders all photographs and the families that are `trained`, so that nothing waits for them later.

        Pictures of the other families are rendered when they are first drawn.
        """
        for number in range(self._photographs):
            self._pixels(Subject("authentic", CAMERA, number))
        for family in TRAINED_FAMILIES:
            for number in range(self._per_family):
                self._pixels(Subject("ai_generated", family, number))

    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Each family, and the groups that the shipped model was and was not trained on."""
        own = {family: (family,) for family in (*TRAINED_FAMILIES, *UNSEEN_FAMILIES)}
        return {**own, TRAINED: TRAINED_FAMILIES, UNSEEN: UNSEEN_FAMILIES}

    def subject(self, label: TruthName, family: str | None, random: Random) -> Subject:
        """Draws one of a family's pictures."""
        if family is None:
            return Subject(label, CAMERA, random.randrange(self._photographs))
        return Subject(label, family, random.randrange(self._per_family))

    def shoot(self, subject: Subject, tier: str, random: Random) -> bytes:
        """Crops 512 × 512 pixels somewhere and encodes them for the tier."""
        left, top = random.randint(0, _MARGIN), random.randint(0, _MARGIN)
        return deliver(self._pixels(subject)[top : top + SIZE, left : left + SIZE], tier)

    def _pixels(self, subject: Subject) -> NDArray[np.uint8]:
        pixels = self._rendered.get(subject)
        if pixels is None:
            pixels = self._rendered[subject] = _render(subject)
        return pixels


def _render(subject: Subject) -> NDArray[np.uint8]:
    seed = _FIRST_SEED + zlib.crc32(f"{subject.family}/{subject.number}".encode())
    if subject.label == "authentic":
        return photograph(seed, SIZE + _MARGIN)
    return machine_made(seed, SIZE + _MARGIN, subject.family)
