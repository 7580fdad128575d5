"""Embeddings that are kept for a reference to come: of models on trial, and of models that have none.

The embeddings topic is the record. What is kept here is read again after a restart, because `oldest` holds the
bookmarks back.
"""

import threading
from collections import deque
from datetime import datetime

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

    def count(self, model_digest: str, *, until: datetime | None = None) -> int:
        """How many are kept of a model, or of those that were made until then."""
        with self._changing:
            kept = self._kept.get(model_digest, ())
            return len(kept) if until is None else sum(sighting.embedding.at <= until for sighting in kept)

    def begun(self, model_digest: str) -> datetime | None:
        """When the first made of those that are kept of a model was made; None where none is kept."""
        with self._changing:
            return min((kept.embedding.at for kept in self._kept.get(model_digest, ())), default=None)

    def arrays(
        self, model_digest: str, *, until: datetime | None = None, least: int = 1
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What is kept of a model: float32 ``[n, D]`` vectors and ``[n]`` scores, n at least 1.

        Args:
            model_digest: The model, of which something is kept.
            until: What was made later is left out.
            least: Unless fewer than this would be left.
        """
        with self._changing:
            kept = list(self._kept[model_digest])
        early = [sighting for sighting in kept if until is None or sighting.embedding.at <= until]
        return arrays(early if len(early) >= least else kept)

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
