"""Blobs and the verdict cache, in memory."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence

from stream.clock import SystemClock
from stream.errors import BlobChanged, BlobForbidden, BlobNotFound, BlobUnavailable, ImageTooLarge
from stream.ports import Clock, Revised, Stored

_SCHEME = "memory://"


class MemoryBlobs:
    """A `stream.ports.VersionedStore` whose URIs begin with ``memory://``.

    Args:
        clock: Says when something was written; this machine's unless given.

    Attributes:
        objects: What is stored, by URI; tests may change it.
        away: While true every call raises `BlobUnavailable`.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self._modified: dict[str, float] = {}
        self._clock = clock or SystemClock()
        self.away = False
        self._lock = threading.Lock()

    def read(self, uri: str, *, limit: int) -> bytes:
        """Returns the object's bytes.

        Raises:
            BlobNotFound, BlobForbidden, BlobUnavailable: As named.
            ImageTooLarge: More than ``limit`` bytes.
        """
        self._answer(uri)
        if not uri.startswith(_SCHEME):
            raise BlobForbidden("only memory:// is stored here", where=uri)
        if uri not in self.objects:
            raise BlobNotFound("there is no such object", where=uri)
        data = self.objects[uri]
        if len(data) > limit:
            raise ImageTooLarge(f"{len(data)} bytes, over the limit of {limit}", where=uri)
        return data

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        """Stores bytes under a relative name and returns their URI."""
        uri = self.uri(name)
        self._answer(uri)
        self._put(uri, data)
        return uri

    def uri(self, name: str) -> str:
        """Where something of this relative name lies, or would lie."""
        return f"{_SCHEME}{name}"

    def revised(self, uri: str, *, limit: int) -> Revised:
        """Returns the object's bytes with their revision; raises what `read` raises."""
        data = self.read(uri, limit=limit)
        return Revised(data, _revision(data))

    def replace(self, name: str, data: bytes, *, media_type: str, revision: str | None) -> str:
        """Stores bytes if the object still has this revision; see `stream.ports.VersionedStore`.

        Raises:
            BlobChanged: Another revision is there, or none.
            BlobUnavailable: As named.
        """
        with self._lock:
            uri = self.uri(name)
            self._answer(uri)
            found = _revision(self.objects[uri]) if uri in self.objects else None
            if found != revision:
                raise BlobChanged("somebody else wrote the object since it was read", where=uri)
            self._put(uri, data)
        return _revision(data)

    def stored(self, folder: str) -> Iterator[Stored]:
        """Lists what lies below a relative name."""
        self._answer(folder)
        for uri, data in list(self.objects.items()):
            if uri.startswith(self.uri(f"{folder}/")):
                yield Stored(uri.removeprefix(_SCHEME), len(data), self._modified.get(uri, 0.0))

    def remove(self, name: str) -> None:
        """Removes what lies under a relative name, if there is anything."""
        self._answer(name)
        self.objects.pop(self.uri(name), None)

    def _put(self, uri: str, data: bytes) -> None:
        self.objects[uri] = data
        self._modified[uri] = self._clock.now()

    def _answer(self, uri: str) -> None:
        if self.away:
            raise BlobUnavailable("the store is switched off", where=uri)


def _revision(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class MemoryCache:
    """A `stream.ports.VerdictCache` that never expires anything.

    Attributes:
        entries: What is stored, by key.
        away: While true lookups miss and stores are dropped, as the port promises.
    """

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.away = False

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Looks keys up; every answer is None while the cache is away."""
        return [None if self.away else self.entries.get(key) for key in keys]

    def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Stores entries; does nothing while the cache is away."""
        if not self.away:
            self.entries.update(entries)
