"""Scenes as a zip in ImageFolder layout, so that training reads data files and never this package."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from producers.traffic.scenes.families import (
    CAMERA,
    DELIVERED,
    DEMO_FAMILIES,
    TRAINED_FAMILIES,
    deliver,
    encode,
    machine_made,
    photograph,
)

_STILL = (1980, 1, 1, 0, 0, 0)
"""The zip's time stamps, fixed so that equal arguments give equal bytes."""

_CROP_QUALITY = 95
_GOLDEN_SEED = 22
_GOLDEN_SIZE = 224


def export(
    path: Path,
    *,
    seed: int,
    per_family: int,
    size: int = 224,
    families: Sequence[str] = TRAINED_FAMILIES,
    delivered: bool = False,
    progress: Callable[[], None] | None = None,
) -> int:
    """Write ``real/simulated-camera/…`` and ``fake/<family>/…`` as JPEGs into an uncompressed zip.

    Every family gets scenes of its own, and there are as many photographs as machine-made pictures, of other scenes
    still, so that no scene is on both sides.

    Args:
        path: The zip to write; replaced if it is there.
        seed: Decides every picture; below 2000, so that no scene is one of the traffic's, which count from 2³¹.
        per_family: Pictures for each family.
        size: Side in pixels.
        families: Decoder families.
        delivered: As traffic brings them, each in a tier drawn by `DELIVERED`, instead of as JPEG q95.
        progress: Called after each picture.

    Returns:
        How many pictures were written.
    """
    total = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for block, family in enumerate([*families, *[CAMERA] * len(families)]):
            for index in range(per_family):
                scene = scene_seed(seed, block * per_family + index)
                made = photograph(scene, size) if family == CAMERA else machine_made(scene, size, family)
                folder = f"real/{CAMERA}" if family == CAMERA else f"fake/{family}"
                name = f"{folder}/{scene:012d}.jpg"
                data = deliver(made, _tier(scene)) if delivered else encode(made, _CROP_QUALITY)
                archive.writestr(zipfile.ZipInfo(name, _STILL), data)
                total += 1
                if progress is not None:
                    progress()
    return total


def golden(path: Path, *, pictures: int = 400, progress: Callable[[], None] | None = None) -> int:
    """Write the demo's golden set: scenes of the families its bundle knows, as traffic brings them.

    Always the same scenes, which no bundle was trained on. They are no larger than the crop that is read of a picture,
    so that one takes 30 ms to make.

    Args:
        path: The zip to write.
        pictures: How many in all, half of them photographs; rounded down to as many of each family.
        progress: Called after each picture.

    Returns:
        How many pictures were written.
    """
    each = pictures // (2 * len(DEMO_FAMILIES))
    return export(
        path, seed=_GOLDEN_SEED, per_family=each, size=_GOLDEN_SIZE, families=DEMO_FAMILIES, delivered=True,
        progress=progress,
    )  # fmt: skip


def _tier(scene: int) -> str:
    """A scene's delivery tier, the same in every export."""
    return Random(f"{scene}/tier").choices(list(DELIVERED), list(DELIVERED.values()))[0]  # noqa: S311


def scene_seed(seed: int, index: int) -> int:
    """The seed of an export's ``index``-th scene; exports of different seeds share none."""
    return seed * 1_000_003 + index
