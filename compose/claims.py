"""A blob folder that stays small: pictures whose uploads are settled are deleted, some time later."""

import threading
from collections import Counter, deque
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stream.ports import BlobStore


class PassingBlobs:
    """A `stream.ports.BlobStore` that forgets pictures one by one. Thread-safe.

    Equal pictures share one file, so the uploads that point to it are counted. A settled upload's file stays until
    ``kept`` later uploads are settled: a worker that was killed may have to read it again.

    Args:
        store: Writes into a folder of this machine, under names that end in the picture's SHA-256.
        kept: Settled uploads whose pictures stay.
    """

    def __init__(self, store: BlobStore, kept: int = 500) -> None:
        self._store = store
        self._kept = kept
        self._lock = threading.Lock()
        self._pointing: Counter[str] = Counter()
        self._uris: dict[str, str] = {}
        self._settled: deque[str] = deque()

    def read(self, uri: str, *, limit: int) -> bytes:
        """As the store does."""
        return self._store.read(uri, limit=limit)

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        """As the store does, counting one more upload that points to the file."""
        digest = name.rpartition("/")[2]
        with self._lock:
            uri = self._store.write(name, data, media_type=media_type)
            self._uris[digest] = uri
            self._pointing[digest] += 1
            return uri

    def settled(self, digest: str) -> None:
        """One upload of the picture with this SHA-256 is judged or dead-lettered; one that came inline is no matter."""
        with self._lock:
            self._settled.append(digest)
            if len(self._settled) > self._kept:
                self._release(self._settled.popleft())

    def _release(self, digest: str) -> None:
        self._pointing[digest] -= 1
        if self._pointing[digest] <= 0:
            del self._pointing[digest]
            uri = self._uris.pop(digest, None)
            if uri is not None:
                Path(unquote(urlsplit(uri).path)).unlink(missing_ok=True)
