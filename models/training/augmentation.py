"""Augmentation: what a network sees of a picture this time, drawn alike for both classes.

Every draw is a function of seed, step and place in the batch. So a resumed run sees what it would have seen, and
parts of a batch computed one after the other, or on several processes, are parts of the same batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.crops import crops
from models.recipes.fields import Delivery, Shifts
from models.training import variants
from models.training.store import Store

Pixels = NDArray[np.uint8]
Augment = Callable[[Store, Sequence[int], int, int], Pixels]
"""Pictures' numbers, the step and the first one's place in its batch to uint8 ``[n, S, S, 3]``."""


def augmentation(kind: Delivery | Shifts, *, size: int, seed: int) -> Augment:
    """The augmentation a recipe names, for crops of ``size`` pixels."""

    def delivery(store: Store, chosen: Sequence[int], step: int, first: int) -> Pixels:
        taken = []
        for place, number in enumerate(chosen, first):
            image = Image.fromarray(np.ascontiguousarray(store[number]))
            taken.append(variants.crop(image, np.random.default_rng([seed, step, place]), size))
        return np.stack(taken)

    def shifts(store: Store, chosen: Sequence[int], step: int, first: int) -> Pixels:
        assert isinstance(kind, Shifts)  # noqa: S101 - narrows the type
        batch = np.concatenate([crops(store[number], size, 1) for number in chosen])
        places = np.arange(first, first + len(batch)) // kind.group
        return np.concatenate([
            shifted(batch[places == group], kind.pixels, np.random.default_rng([seed, step, int(group)]))
            for group in np.unique(places)
        ])  # fmt: skip

    return shifts if isinstance(kind, Shifts) else delivery


def shifted(batch: Pixels, most: int, rng: np.random.Generator) -> Pixels:
    """A batch ``[n, S, S, 3]``, every other time mirrored, moved by up to ``most`` pixels each way."""
    size = batch.shape[1]
    if rng.random() < 0.5:  # noqa: PLR2004 - an even chance
        batch = batch[:, :, ::-1]
    top, left = rng.integers(2 * most + 1, size=2)
    padded = np.pad(batch, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")
    return padded[:, top : top + size, left : left + size]
