"""Windows over embeddings: for each model one for all tenants together and one for each tenant.

A window closes when it holds as many embeddings as are judged together, or when it is old enough. Every record counts
once: records come again after a restart and are known by their offsets, and an embedding that a worker wrote twice is
known by upload id and model digest, as long as it comes within some windows of the first.

Nothing here talks to Kafka. What must be read again after a restart is told by `Windows.bookmarks`.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream.bookmarks import Bookmark
from stream.embeddings import Embedding
from stream.events import Window as Facts
from stream.records import Partition

_REMEMBERED_WINDOWS = 20
_ID_CHARACTERS = 32


class Key(NamedTuple):
    """Whose window: a model's, of one tenant or (None) of all."""

    model_digest: str
    tenant: str | None


class Sighting(NamedTuple):
    """An embedding and where it lies."""

    embedding: Embedding
    tp: Partition
    offset: int


@dataclass(slots=True)
class Window:
    """Embeddings that are judged together; grows until it is closed.

    Attributes:
        key: Whose.
        opened: When the first came, seconds since the epoch.
        sightings: What is in it, in order of arrival.
        begun: The first offset of each partition.
        ends: For each partition the offset behind the last record that this window or an earlier one of the same key
            holds.
    """

    key: Key
    opened: float
    ends: dict[Partition, int]
    sightings: list[Sighting] = field(default_factory=list)
    begun: dict[Partition, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sightings)

    @property
    def upload_ids(self) -> tuple[str, ...]:
        """Which uploads, in order of arrival."""
        return tuple(seen.embedding.upload_id for seen in self.sightings)

    def facts(self) -> Facts:
        """What a report says of it. The id is a digest of model, tenant and the set of uploads."""
        digest = hashlib.sha256("\0".join((self.key.model_digest, self.key.tenant or "")).encode())
        for upload_id in sorted(self.upload_ids):
            digest.update(b"\0" + upload_id.encode())
        times = [seen.embedding.at for seen in self.sightings]
        return Facts(
            id=digest.hexdigest()[:_ID_CHARACTERS],
            size=len(self),
            first_at=min(times, default=None),
            last_at=max(times, default=None),
            ends={str(tp.partition): offset for tp, offset in self.ends.items()},
        )

    def _add(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)
        self.begun.setdefault(sighting.tp, sighting.offset)
        self.ends[sighting.tp] = sighting.offset + 1


def arrays(sightings: Sequence[Sighting]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Embeddings float32 ``[n, D]`` and their scores float32 ``[n]``; n is at least 1.

    In float32, because float16 overflows in sums.
    """
    scores = np.array([sighting.embedding.score for sighting in sightings], np.float32)
    return np.stack([sighting.embedding.vector for sighting in sightings]).astype(np.float32), scores


class Windows:
    """The open windows of every model and tenant.

    Args:
        size: Embeddings at which a window closes.
        age_s: Seconds after which it closes with what it has.
        tenants: Of a model, at most so many tenants get windows of their own: the first that come.
        ends: Where the last reported window of each key ended, as `Window.ends` says; older records do not count again.
    """

    def __init__(
        self, size: int, age_s: float, tenants: int, ends: Mapping[Key, Mapping[Partition, int]] | None = None
    ) -> None:
        self._size = size
        self._age_s = age_s
        self._tenants = tenants
        self._ends = {key: dict(found) for key, found in (ends or {}).items()}
        self._open: dict[Key, Window] = {}
        self._unreported: dict[int, Window] = {}
        self._unseen: dict[Partition, int] = {}
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()

    def passed(self, tp: Partition, offset: int) -> bool:
        """Notes that a record was met; returns whether it had been met before."""
        if offset < self._unseen.get(tp, 0):
            return True
        self._unseen[tp] = offset + 1
        return False

    def repeated(self, embedding: Embedding) -> bool:
        """Notes an upload that a model saw; returns whether it had been noted before."""
        name = (embedding.model_digest, embedding.upload_id)
        if name in self._recent:
            return True
        self._recent[name] = None
        if len(self._recent) > _REMEMBERED_WINDOWS * self._size:
            self._recent.popitem(last=False)
        return False

    def add(self, sighting: Sighting, now: float) -> list[Window]:
        """Puts an embedding into its windows; returns those that are full now, each to be given to `reported`.

        Args:
            sighting: What came, neither `passed` nor `repeated`.
            now: Seconds since the epoch; for what is read again, when it was made.
        """
        closed = []
        digest, tenant = sighting.embedding.model_digest, sighting.embedding.tenant
        for key in (Key(digest, None), Key(digest, tenant)):
            window = self._open.get(key) or self._opened(key, now)
            if window is None or sighting.offset < self._ends.get(key, {}).get(sighting.tp, 0):
                continue
            self._open[key] = window
            window._add(sighting)
            if len(window) >= self._size:
                closed.append(self._close(key))
        return closed

    def due(self, now: float) -> list[Window]:
        """Closes and returns the windows that are old enough."""
        old = [key for key, window in self._open.items() if now - window.opened >= self._age_s]
        return [self._close(key) for key in old]

    def tenants(self, model_digest: str) -> list[Window]:
        """The open windows of single tenants of one model, which stay open."""
        return [window for key, window in self._open.items() if key.model_digest == model_digest and key.tenant]

    def drop(self, model_digest: str) -> None:
        """Throws the open windows of one model away; their records are not judged."""
        for key in [key for key in self._open if key.model_digest == model_digest]:
            del self._open[key]

    @property
    def filling(self) -> int:
        """How many are open."""
        return len(self._open)

    def reported(self, window: Window) -> None:
        """The report on a closed window is in the topic: its records are not needed any more."""
        self._unreported.pop(id(window), None)

    def bookmarks(self, held: Mapping[Partition, int]) -> dict[Partition, Bookmark]:
        """Where reading would have to begin again, of every partition met.

        Args:
            held: By partition the first offset that somebody else still needs.
        """
        needed = dict(self._unseen)
        for starts in (held, *(window.begun for window in (*self._open.values(), *self._unreported.values()))):
            for tp, offset in starts.items():
                needed[tp] = min(needed.get(tp, offset), offset)
        return {tp: Bookmark(needed[tp], unseen) for tp, unseen in self._unseen.items()}

    def _opened(self, key: Key, now: float) -> Window | None:
        if key.tenant is not None and key not in self._ends:
            known = sum(other.model_digest == key.model_digest and other.tenant is not None for other in self._ends)
            if known >= self._tenants:
                return None
        self._ends.setdefault(key, {})
        return Window(key, now, dict(self._ends[key]))

    def _close(self, key: Key) -> Window:
        window = self._open.pop(key)
        self._ends[key] = dict(window.ends)
        self._unreported[id(window)] = window
        return window


def read_ends(facts: Facts, topic: str) -> dict[Partition, int]:
    """`Window.ends` from what a report said of it."""
    return {Partition(topic, int(number)): offset for number, offset in facts.ends.items() if number.isdecimal()}
