"""Crops as a worker would cut them, after delivery; and how a network in training does on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.crops import crops
from models.evaluation.delivery import Tier, delivered
from models.evaluation.measures import balanced_auc
from models.evaluation.pictures import Item
from models.training.scoring import Scoring
from models.training.store import decoded

_CHUNK = 48

Pixels = NDArray[np.uint8]


def served(items: Sequence[Item], tier: Tier, size: int, count: int) -> Iterator[Pixels]:
    """Crops of pictures delivered by a tier, a few dozen pictures at a time: uint8 ``[n, count, size, size, 3]``."""
    for start in range(0, len(items), _CHUNK):
        chunk = items[start : start + _CHUNK]
        yield np.stack([crops(delivered(decoded(item), tier).pixels, size, count) for item in chunk])


class Validation:
    """Scores a network on pictures kept for validation.

    Args:
        items: The pictures.
        tiers: Delivery tiers.
        size: Side of a crop.
        count: Crops of a picture.
        cast: The precision it computes in.
        device: Where the network is.
        kept_bytes: Crops are kept between validations up to this many bytes, and cut again each time beyond.
    """

    def __init__(
        self,
        items: Sequence[Item],
        tiers: Sequence[Tier],
        *,
        size: int,
        count: int,
        cast: torch.autocast,
        device: torch.device,
        kept_bytes: int,
    ) -> None:
        self._items, self._tiers, self._size, self._count = items, tiers, size, count
        self._cast, self._device = cast, device
        self._keeps = len(items) * len(tiers) * count * size * size * 3 <= kept_bytes
        self._kept: dict[Tier, list[Pixels]] = {}
        self._labels = np.array([item.label for item in items], np.int64)
        self._sources = np.array([item.source for item in items])

    def __call__(self, net: Scoring) -> dict[str, float]:
        """The source-balanced AUC of every tier."""
        return {
            tier: balanced_auc(self._logits(net, self._crops(tier)), self._labels, self._sources)
            for tier in self._tiers
        }

    def _crops(self, tier: Tier) -> Iterator[Pixels] | list[Pixels]:
        if not self._keeps:
            return served(self._items, tier, self._size, self._count)
        if tier not in self._kept:
            self._kept[tier] = list(served(self._items, tier, self._size, self._count))
        return self._kept[tier]

    @torch.no_grad()
    def _logits(self, net: Scoring, chunks: Iterator[Pixels] | list[Pixels]) -> NDArray[np.float64]:
        net.eval()
        found = []
        for chunk in chunks:
            with self._cast:
                logits = net(torch.from_numpy(chunk.reshape(-1, *chunk.shape[2:])).to(self._device))
            found.append(logits.float().cpu().numpy().reshape(len(chunk), -1).mean(1))
        return np.concatenate(found).astype(np.float64)
