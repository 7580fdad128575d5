"""Pictures seen before: looked up in batches, remembered in the background."""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consumers.classify import cache
from consumers.classify.cache import Answer
from consumers.classify.inbox import Inbox
from consumers.classify.slots import Turn
from consumers.classify.stages import Fetched, Opinion, Recalled
from stream.ports import VerdictCache

_WAITING = 1024
_TOGETHER = 64


class Memory:
    """What the verdict cache knows, without ever making an upload wait for a store.

    Args:
        known: The cache; while it is away everything is new.
    """

    def __init__(self, known: VerdictCache) -> None:
        self._cache = known
        self._unstored: Inbox[tuple[str, bytes]] = Inbox(_WAITING)
        self._thread = threading.Thread(target=self._store, name="remember")

    def start(self) -> None:
        """Begins to store."""
        self._thread.start()

    def close(self) -> None:
        """Stores what waits and ends."""
        self._unstored.close()
        self._thread.join()

    def recall(self, asked: Sequence[tuple[Fetched, Turn]]) -> list[Recalled | None]:
        """What those who are asked said of these pictures before; None for each that is new to one of them.

        A picture whose event names another format than the one it was found to have counts as new, so that it meets
        the same refusal as at its first time.
        """
        keys = [cache.key(item.sha256, model.ref.digest) for item, turn in asked for model in turn.models]
        entries = iter(self._cache.get_many(keys))
        return [_recalled(item, turn, [next(entries) for _ in turn.models]) for item, turn in asked]

    def remember(self, answer: Answer, embedding: NDArray[np.float16]) -> None:
        """Stores an answer soon; while the cache is slower than the worker it is forgotten, which costs speed only."""
        self._unstored.offer((cache.key(answer.image.sha256, answer.model.digest), cache.pack(answer, embedding)))

    def _store(self) -> None:
        for together in self._unstored.batches(_TOGETHER):
            self._cache.put_many(dict(together))


def _recalled(fetched: Fetched, turn: Turn, entries: Sequence[bytes | None]) -> Recalled | None:
    known = [cache.unpack(entry) if entry else None for entry in entries]
    if any(said is None or said[0].image.media_type != fetched.upload.media_type for said in known):
        return None
    (answer, embedding), *opinions = filter(None, known)
    return Recalled(fetched, answer, embedding, turn, Opinion(*opinions[0]) if opinions else None)
