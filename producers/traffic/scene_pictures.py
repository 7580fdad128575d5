"""The built-in scenes as traffic: a few dozen rendered at the start, each upload a crop of one of them.

A scene takes about 100 ms to render, far too long for every upload. So each family has a small pool of pictures, a
little larger than what is uploaded; a shot is a random crop, encoded for its tier: one of 2,401 for each picture and
tier. The pool is renewed as it is drawn from: a thread renders the next picture, which then takes the oldest one's
place. What is uploaded late therefore shows scenes that nobody has labelled early. Shots of one picture still differ in
pixels and bytes only and show the same scene, so intervals over many uploads, which take them for independent, are too
narrow.
"""

import zlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Self

import numpy as np
from numpy.typing import NDArray

from producers.traffic.pictures import Subject
from producers.traffic.scenario import TRAINED, UNSEEN
from producers.traffic.scenes import CAMERA, TRAINED_FAMILIES, UNSEEN_FAMILIES, deliver, machine_made, photograph
from stream.events import TruthName

SIZE = 512
_MARGIN = 48
# Pictures out of the pool that are still at hand, for posts that repeat one.
_KEPT = 2
# Scenes of traffic must be none that a model was trained on; training counts its seeds up from 0.
_FIRST_SEED = 1 << 31


class ScenePictures:
    """Simulated photographs and machine-made pictures, 512 pixels square (smaller in tier ``hard``).

    The same draws give the same pictures, however long rendering takes: a picture that is not ready is waited for. Use
    it in a ``with`` block, or `close` it.

    Args:
        photographs: How many photographs there are at a time.
        per_family: How many pictures each family has at a time.
        renew_after: A family's oldest picture gives way to a new one after so many draws from the family.
    """

    def __init__(self, *, photographs: int = 36, per_family: int = 6, renew_after: int = 24) -> None:
        self._sizes = {CAMERA: photographs}
        self._per_family = per_family
        self._renew_after = renew_after
        self._draws: Counter[str] = Counter()
        self._rendered: dict[Subject, Future[NDArray[np.uint8]]] = {}
        self._renderer = ThreadPoolExecutor(1, thread_name_prefix="scenes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Renders nothing more."""
        self._renderer.shutdown(cancel_futures=True)

    def prepare(self) -> None:
        """Renders the first photographs and those of the families that are `trained`, so that nothing waits later.

        Pictures of the other families are rendered when they are first drawn.
        """
        first = [Subject("authentic", CAMERA, number) for number in range(self._size(CAMERA))]
        for family in TRAINED_FAMILIES:
            first += [Subject("ai_generated", family, number) for number in range(self._size(family))]
        for subject in first:
            self._pixels(subject)

    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Each family, and the groups that the shipped model was and was not trained on."""
        own = {family: (family,) for family in (*TRAINED_FAMILIES, *UNSEEN_FAMILIES)}
        return {**own, TRAINED: TRAINED_FAMILIES, UNSEEN: UNSEEN_FAMILIES}

    def subject(self, label: TruthName, family: str | None, random: Random) -> Subject:
        """Draws one of a family's pictures."""
        family = family or CAMERA
        oldest, since = divmod(self._draws[family], self._renew_after)
        self._draws[family] += 1
        size = self._size(family)
        if since == 0:
            self._start(Subject(label, family, oldest + size))
            for gone in [known for known in self._rendered if known.family == family and known.number < oldest - _KEPT]:
                del self._rendered[gone]
        return Subject(label, family, oldest + random.randrange(size))

    def shoot(self, subject: Subject, tier: str, random: Random) -> bytes:
        """Crops 512 × 512 pixels somewhere and encodes them for the tier."""
        left, top = random.randint(0, _MARGIN), random.randint(0, _MARGIN)
        return deliver(self._pixels(subject)[top : top + SIZE, left : left + SIZE], tier)

    def _size(self, family: str) -> int:
        return self._sizes.get(family, self._per_family)

    def _pixels(self, subject: Subject) -> NDArray[np.uint8]:
        return self._start(subject).result()

    def _start(self, subject: Subject) -> Future[NDArray[np.uint8]]:
        if subject not in self._rendered:
            self._rendered[subject] = self._renderer.submit(_render, subject)
        return self._rendered[subject]


def _render(subject: Subject) -> NDArray[np.uint8]:
    seed = _FIRST_SEED + zlib.crc32(f"{subject.family}/{subject.number}".encode())
    if subject.label == "authentic":
        return photograph(seed, SIZE + _MARGIN)
    return machine_made(seed, SIZE + _MARGIN, subject.family)
