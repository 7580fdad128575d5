"""A bundle's own reference: embeddings of ordinary pictures, frozen and sealed into the bundle."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from drift.reference import Reference
from models.bundle import Bundle
from models.decode import decode
from models.evaluation import pictures
from models.manifest import CARD, MANIFEST, REFERENCE
from models.ordered import in_order
from models.ports import Score, Scorer
from producers.traffic import scenario
from producers.traffic.plan import Plan
from producers.traffic.scene_pictures import ScenePictures
from stream.errors import ConfigurationError, ImageError

Advance = Callable[[int], None]

CALM = "calm"
_TOGETHER = 16
_GENERATION = re.compile(r"^(.*)\+r(\d+)$")
_HEADING = b"\n## Reference\n"
_SECTION = """
Drift is judged against {kept} embeddings of {count} pictures ({source}), in windows of {window}; at most a share
{alpha:g} of windows from unchanged traffic exceeds a threshold, calibrated by {repetitions} re-partitions with seed
{seed}. Network and calibration are those of bundle `{parent}`.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a model saw: float32 ``[n, D]``, their scores ``[n]``, and what could not be decoded, by reason."""

    vectors: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    unreadable: Counter[str]


def see(files: Iterable[bytes], scorer: Scorer, *, threads: int = 1, advance: Advance = lambda step: None) -> Seen:
    """Embeds encoded pictures as a worker would.

    Args:
        files: The pictures' bytes.
        scorer: The model.
        threads: That decode and score.
        advance: Is told after every few pictures how many they were.

    Raises:
        ConfigurationError: None of them can be decoded.
        InferenceFailed: The model fails on one.
    """
    unreadable: Counter[str] = Counter()
    scores: list[Score] = []

    def scored(files: list[bytes]) -> tuple[list[Score], list[str], int]:
        prepared, refused = [], []
        for data in files:
            try:
                prepared.append(scorer.prepare(decode(data)))
            except ImageError as error:
                refused.append(type(error).__name__)
        return scorer.predict(prepared), refused, len(files)

    for found, refused, count in in_order(scored, _chunks(files, _TOGETHER), threads=threads):
        scores += found
        unreadable.update(refused)
        advance(count)
    if not scores:
        raise ConfigurationError("there is no picture that can be decoded", remedy="Look at the files")
    vectors = np.stack([score.embedding for score in scores]).astype(np.float32)
    return Seen(vectors, np.array([score.p_ai for score in scores], np.float32), unreadable)


def calm_traffic(
    count: int, *, seed: int, play: str = CALM, scenes: ScenePictures | None = None
) -> Iterator[bytes]:  # fmt: skip
    """Pictures as the first phase of the scenario ``play`` has them: the same scenes, mix and tiers, no repetitions."""
    scenes = scenes or ScenePictures()
    scenes.prepare()
    random = Random(f"{seed}/reference")  # noqa: S311
    found = scenario.load(play)
    first = found.model_copy(update={"phases": found.phases[:1]})
    plan = Plan(first, scenes.families(), seed=seed, endless=True)
    for planned in islice(plan, count):
        subject = scenes.subject(planned.label, planned.family, random)
        yield scenes.shoot(subject, planned.tier, random)


def _chunks(files: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    remaining = iter(files)
    while chunk := list(islice(remaining, size)):
        yield chunk


def from_files(paths: list[Path]) -> tuple[Iterator[bytes], int]:
    """The pictures of zips and folders in the layout of `models.evaluation.pictures`, and how many there are."""
    collections = pictures.index(paths)
    files = (item.data for collection in collections for item in collection.items())
    return files, sum(len(collection.entries) for collection in collections)


def sealed(parent: Bundle, reference: Reference, *, count: int, source: str) -> Bundle:
    """The bundle with its reference: the same model under a new digest.

    Args:
        parent: The bundle; never changed.
        reference: Built with an empty model digest, for it lies in the bundle that it belongs to.
        count: Pictures it was made of.
        source: Where they came from, in words.
    """
    files = {name: data for name, data in parent.files.items() if name != MANIFEST}
    files[REFERENCE] = reference.to_bytes()
    level = reference.thresholds[0]
    files[CARD] = _without_reference(files[CARD]) + _HEADING + _SECTION.format(
        kept=len(reference.vectors), count=count, source=source, window=level.n_current, alpha=level.alpha,
        repetitions=level.repetitions, seed=level.seed, parent=parent.digest,
    ).encode()  # fmt: skip
    version = parent.manifest.version
    found = _GENERATION.match(version)
    update = {
        "version": f"{found[1]}+r{int(found[2]) + 1}" if found else f"{version}+r1",
        "created": datetime.now(UTC),
        "parent": parent.digest,
    }
    return Bundle.build(parent.manifest.model_copy(update=update), files)


def _without_reference(card: bytes) -> bytes:
    """A card without the section of an earlier reference."""
    before, _, after = card.partition(_HEADING)
    _, more, rest = after.partition(b"\n## ")
    return before + more + rest
