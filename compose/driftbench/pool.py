"""Embeddings of thousands of different simulated pictures, rendered once and kept in a folder.

Streams of a bench must not show the same few pictures over and over: what repeats is then the pictures' own departure
from the reference, and looks like drift. So every upload is a scene of its own, rendered no larger than what the model
looks at, and delivered twice, for posts of the same picture again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from compose.references import see
from models.bundle import Bundle
from models.classifier import Classifier
from models.manifest import CALIBRATION, MODEL
from producers.traffic.scenes import CAMERA, TRAINED_FAMILIES, UNSEEN_FAMILIES, deliver, machine_made, photograph
from stream.errors import ConfigurationError

SHOTS = 2
TIERS = {"clean": 0.6, "web": 0.4}
_MARGIN = 48
# No scene of training (seeds from 0) or of traffic (from 2³¹).
_FIRST_SEED = 1 << 36
_SEEDS_EACH = 1 << 24
_TOGETHER = 8
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """How many different pictures there are: photographs, and of each family trained on and unseen."""

    photographs: int
    per_trained: int
    per_unseen: int
    seed: int

    @property
    def subjects(self) -> list[tuple[str, int]]:
        """Every picture: its family, and the seed of its scene."""
        counts = {CAMERA: self.photographs}
        counts |= dict.fromkeys(TRAINED_FAMILIES, self.per_trained)
        counts |= dict.fromkeys(UNSEEN_FAMILIES, self.per_unseen)
        names = [family for family, count in counts.items() for _ in range(count)]
        first = _FIRST_SEED + self.seed * _SEEDS_EACH
        return [(family, first + number) for number, family in enumerate(names)]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What the model saw: float16 ``[n, SHOTS, D]``, scores ``[n, SHOTS]``, and each picture's family ``[n]``."""

    vectors: npt.NDArray[np.float16]
    scores: npt.NDArray[np.float32]
    families: npt.NDArray[np.str_]


def load(path: Path) -> Pool:
    """Reads a pool that `prepared` wrote.

    Raises:
        ConfigurationError: It is not one.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Pool(arrays["vectors"], arrays["scores"], arrays["families"])
    except _BROKEN as error:
        remedy = "Remove the file; it is made again"
        raise ConfigurationError(
            f"the kept embeddings cannot be read: {error}", where=str(path), remedy=remedy
        ) from error


def prepared(
    folder: Path, bundle: Bundle, plan: PoolPlan, *, processes: int, advance: Callable[[int], None] = lambda step: None
) -> Path:
    """The file of a pool's embeddings; rendered and embedded first where the folder does not hold them yet."""
    # Not by the bundle's digest: a new card or reference does not change what the model sees.
    network = [bundle.manifest.files[name] for name in (MODEL, CALIBRATION)]
    wanted = json.dumps([network, asdict(plan), TRAINED_FAMILIES, UNSEEN_FAMILIES])
    path = folder / f"embeddings-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        return path
    side = bundle.manifest.input.size
    jobs = [(family, scene, side) for family, scene in plan.subjects]
    seen = see(_shots(jobs, processes), Classifier.load(bundle, threads=1), advance=advance)
    folder.mkdir(parents=True, exist_ok=True)
    # Written under another name first, so that a run cut short leaves nothing that looks whole.
    draft = path.with_suffix(".draft.npz")
    np.savez(
        draft,
        vectors=seen.vectors.astype(np.float16).reshape(len(jobs), SHOTS, -1),
        scores=seen.scores.reshape(len(jobs), SHOTS),
        families=np.array([family for family, _, _ in jobs]),
    )
    draft.rename(path)
    return path


def _shots(jobs: Sequence[tuple[str, int, int]], processes: int) -> Iterator[bytes]:
    if processes == 1:
        for job in jobs:
            yield from _shoot(job)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for shots in pool.map(_shoot, jobs, chunksize=_TOGETHER):
            yield from shots


def _shoot(job: tuple[str, int, int]) -> list[bytes]:
    family, scene, side = job
    size = side + _MARGIN
    pixels = photograph(scene, size) if family == CAMERA else machine_made(scene, size, family)
    random, found = Random(f"{scene}/shots"), []  # noqa: S311
    for _ in range(SHOTS):
        tier = random.choices(list(TIERS), list(TIERS.values()))[0]
        left, top = random.randint(0, _MARGIN), random.randint(0, _MARGIN)
        found.append(deliver(pixels[top : top + side, left : left + side], tier))
    return found
