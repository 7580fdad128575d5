"""Embeddings that are kept for a reference to come: of models on trial, and of models that have none.

The embeddings topic is the record. What is kept here is read again after a restart, because `oldest` holds the
bookmarks back.
"""

import threading
from collections import deque

import numpy as np
import numpy.typing as npt

from drift.windows import Sighting, arrays
from stream.records import Partition


class Baselines:
    """The latest embeddings of each model that is still collected. Thread-safe.

    Args:
        most: Embeddings kept of each model.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, deque[Sighting]] = {}
        self._settled: set[str] = set()
        self._changing = threading.Lock()

    def add(self, sighting: Sighting) -> None:
        """Keeps an embedding, unless its model's reference is settled."""
        digest = sighting.embedding.model_digest
        with self._changing:
            if digest not in self._settled:
                self._kept.setdefault(digest, deque(maxlen=self._most)).append(sighting)

    def count(self, model_digest: str) -> int:
        """How many are kept of a model."""
        with self._changing:
            return len(self._kept.get(model_digest, ()))

    def arrays(self, model_digest: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What is kept of a model: float32 ``[n, D]`` vectors and ``[n]`` scores, n at least 1."""
        with self._changing:
            kept = list(self._kept[model_digest])
        return arrays(kept)

    def settle(self, model_digest: str) -> None:
        """A model's reference stands: nothing more is kept of it."""
        with self._changing:
            self._settled.add(model_digest)
            self._kept.pop(model_digest, None)

    def watch(self, model_digest: str) -> None:
        """A model is on trial: its embeddings are kept from now on."""
        with self._changing:
            self._settled.discard(model_digest)

    def forget(self, model_digest: str) -> None:
        """Throws away what is kept of a model; collecting goes on."""
        with self._changing:
            self._kept.pop(model_digest, None)

    def oldest(self) -> dict[Partition, int]:
        """By partition the first offset that is still needed."""
        found: dict[Partition, int] = {}
        with self._changing:
            for kept in self._kept.values():
                for sighting in kept:
                    found[sighting.tp] = min(found.get(sighting.tp, sighting.offset), sighting.offset)
        return found
