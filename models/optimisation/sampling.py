"""The pictures a bundle is optimised on: crops on disk for measuring, and a few apart for setting int8 ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from models.crops import crops
from models.decode import decode
from models.evaluation.measures import Labels, Names
from models.evaluation.pictures import Collection
from models.manifest import InputSpec
from models.optimisation.ranges import Advance
from models.ports import Crops
from stream.errors import ConfigurationError, ImageError

_MOST = 128
_SHARE = 5
_TOO_FEW = "Too few pictures can be decoded, or they are of one class only"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pictures cut as the worker would cut them.

    Attributes:
        path: An npy, uint8 ``[n, k, S, S, 3]``: the pictures that are measured.
        labels: Of those, 1 for machine-made ``[n]``.
        sources: Names of their sources ``[n]``.
        calibration: uint8 ``[m, k, S, S, 3]``: other pictures; none shares a stem with those.
        unreadable: How many could not be decoded.
    """

    path: Path
    labels: Labels
    sources: Names
    calibration: npt.NDArray[np.uint8]
    unreadable: int

    def calibration_crops(self) -> Crops:
        """All crops of the pictures kept apart, ``[m·k, S, S, 3]``."""
        return self.calibration.reshape(-1, *self.calibration.shape[2:])


def draw(
    collections: Sequence[Collection],
    taken: InputSpec,
    folder: Path,
    *,
    seed: int,
    advance: Advance = lambda step: None,
) -> Sample:
    """Decodes and cuts all pictures; a fifth of them at random, 128 at most, go apart.

    Args:
        collections: The pictures, of both classes.
        taken: What the model takes.
        folder: Where the crops go.
        seed: Of the draw.
        advance: Is told after every picture.

    Raises:
        ConfigurationError: What is left to measure is of one class only.
    """
    total = sum(len(collection.entries) for collection in collections)
    rng = np.random.default_rng(seed)
    apart = set(rng.permutation(total)[: max(1, min(_MOST, total // _SHARE))].tolist())
    draft = folder / "all.npy"
    cut = open_memmap(draft, "w+", np.uint8, (total, taken.crops, taken.size, taken.size, 3))
    calibration: list[Crops] = []
    stems_apart: set[tuple[str, str]] = set()
    labels: list[int] = []
    keys: list[tuple[str, str]] = []
    unreadable = 0
    items = (item for collection in collections for item in collection.items())
    for number, item in enumerate(items):
        try:
            pixels = crops(decode(item.data).pixels, taken.size, taken.crops)
        except ImageError:
            unreadable += 1
        else:
            key = (item.source, item.stem)
            if number in apart:
                calibration.append(pixels)
                stems_apart.add(key)
            else:
                cut[len(keys)] = pixels
                keys.append(key)
                labels.append(item.label)
        advance(1)
    kept = np.array([number for number, key in enumerate(keys) if key not in stems_apart], np.int64)
    chosen = np.array(labels, np.int64)[kept]
    if not calibration or len(set(chosen.tolist())) < 2:  # noqa: PLR2004 - both classes
        raise ConfigurationError(
            _TOO_FEW, where=f"{len(kept)} to measure, {unreadable} unreadable", remedy="Give more pictures of both."
        )
    path = folder / "pixels.npy"
    final = open_memmap(path, "w+", np.uint8, (len(kept), *cut.shape[1:]))
    for place, number in enumerate(kept):
        final[place] = cut[number]
    final.flush()
    draft.unlink()
    return Sample(path, chosen, np.array([keys[number][0] for number in kept]), np.stack(calibration), unreadable)
