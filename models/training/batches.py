"""Every batch as a function of its step, so that a run can start anywhere and go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.ordered import in_order
from models.recipes.fields import Finetune
from models.training.augmentation import Augment
from models.training.store import Store
from stream.errors import ConfigurationError


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What goes through the network at once: crops uint8 ``[n, S, S, 3]``, labels and weights float32 ``[n]``."""

    crops: NDArray[np.uint8]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]


class Batches:
    """The batches of a run, or one process's share of them.

    Every epoch goes through all pictures in an order of its own; those that fill no batch are left out of it.

    Args:
        store: The pictures.
        labels: ``[N]``; 1 for machine-made.
        weights: What each picture counts, ``[N]``.
        recipe: Sizes, seed, epochs or steps.
        augment: Cuts the crops.
        rank: Of this process.
        count: Of processes.

    Raises:
        ConfigurationError: There are too few pictures for a batch, or it cannot be dealt out evenly.
    """

    def __init__(
        self,
        store: Store,
        labels: NDArray[np.int64],
        weights: NDArray[np.float64],
        recipe: Finetune,
        augment: Augment,
        *,
        rank: int = 0,
        count: int = 1,
    ) -> None:
        if len(store) < recipe.batch:
            raise ConfigurationError(
                f"{len(store)} training pictures do not fill a batch of {recipe.batch}",
                remedy="Give more pictures, or a recipe with smaller batches.",
            )
        if recipe.batch % (count * recipe.accumulation):
            raise ConfigurationError(
                f"a batch of {recipe.batch} cannot be dealt out to {count} processes in {recipe.accumulation} parts",
                remedy="Change the recipe's batch or accumulation, or the number of processes.",
            )
        self._store, self._augment, self._recipe = store, augment, recipe
        self._labels, self._weights = labels.astype(np.float32), weights.astype(np.float32)
        self._per_epoch = len(store) // recipe.batch
        self.total = recipe.steps or (recipe.epochs or 1) * self._per_epoch
        self._share = recipe.batch // count
        self._first = rank * self._share
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._recipe.seed, epoch]).permutation(len(self._store))

    def at(self, step: int) -> list[Part]:
        """This process's share of a step's batch, in the recipe's number of parts."""
        epoch, place = divmod(step, self._per_epoch)
        batch = self._order(epoch)[place * self._recipe.batch : (place + 1) * self._recipe.batch]
        size = self._share // self._recipe.accumulation
        parts = []
        for first in range(self._first, self._first + self._share, size):
            chosen = batch[first : first + size]
            crops = self._augment(self._store, chosen.tolist(), step, first)
            parts.append(Part(crops, self._labels[chosen], self._weights[chosen]))
        return parts

    def following(self, start: int, threads: int) -> Iterator[list[Part]]:
        """The batches from a step on, made ahead of time by threads beside the one that trains."""
        return in_order(self.at, range(start, self.total), threads=max(2, threads))
