"""The built-in scenes as traffic: a few dozen rendered at the start, each upload a crop of one of them.

A scene takes about 100 ms to render, far too long for every upload. So each family has a small pool of pictures, a
little larger than what is uploaded; a shot is a random crop, encoded for its tier: one of 2,401 for each picture and
tier. Shots of one picture differ in pixels and bytes but show the same scene, so intervals over many uploads, which
take them for independent, are too narrow.

The pools of photographs and of families that are `trained` stay as they are, so that calm traffic is alike from its
first upload to its last. That of a new family is renewed as it is drawn from: a thread renders the next picture, which
takes the oldest one's place, so that what is uploaded late shows scenes that nobody has labelled early.
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
        per_new_family: How many pictures a family that is `unseen` has at a time.
        renew_after: Its oldest picture gives way to a new one after so many draws from it.
    """

    def __init__(
        self, *, photographs: int = 36, per_family: int = 6, per_new_family: int = 12, renew_after: int = 16
    ) -> None:
        self._sizes = {
            CAMERA: photographs,
            **dict.fromkeys(TRAINED_FAMILIES, per_family),
            **dict.fromkeys(UNSEEN_FAMILIES, per_new_family),
        }
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
        """Renders all pools, so that nothing waits for them later; returns before those of new families are ready."""
        pools = [
            Subject("authentic" if family == CAMERA else "ai_generated", family, number)
            for family, size in self._sizes.items()
            for number in range(size)
        ]
        for subject in pools:
            self._start(subject)
        for subject in pools:
            if subject.family not in UNSEEN_FAMILIES:
                self._pixels(subject)

    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Each family, and the groups that the shipped model was and was not trained on."""
        own = {family: (family,) for family in (*TRAINED_FAMILIES, *UNSEEN_FAMILIES)}
        return {**own, TRAINED: TRAINED_FAMILIES, UNSEEN: UNSEEN_FAMILIES}

    def subject(self, label: TruthName, family: str | None, random: Random) -> Subject:
        """Draws one of a family's pictures."""
        family = family or CAMERA
        size = self._sizes[family]
        if family not in UNSEEN_FAMILIES:
            return Subject(label, family, random.randrange(size))
        oldest, since = divmod(self._draws[family], self._renew_after)
        self._draws[family] += 1
        if since == 0:
            self._start(Subject(label, family, oldest + size))
            for gone in [known for known in self._rendered if known.family == family and known.number < oldest - _KEPT]:
                del self._rendered[gone]
        return Subject(label, family, oldest + random.randrange(size))

    def shoot(self, subject: Subject, tier: str, random: Random) -> bytes:
        """Crops 512 × 512 pixels somewhere and encodes them for the tier."""
        left, top = random.randint(0, _MARGIN), random.randint(0, _MARGIN)
        return deliver(self._pixels(subject)[top : top + SIZE, left : left + SIZE], tier)

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
