"""A blob folder that stays small: a picture is deleted as soon as every upload that points to it is settled."""

import threading
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stream.ports import BlobStore


class PassingBlobs:
    """A `stream.ports.BlobStore` whose pictures are forgotten one by one. Thread-safe.

    Equal pictures share one file, so uploads are counted per file.

    Args:
        store: Writes into a folder of this machine.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pointing: Counter[str] = Counter()
        self._uris: dict[str, str] = {}

    def read(self, uri: str, *, limit: int) -> bytes:
        """As the store does."""
        return self._store.read(uri, limit=limit)

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        """As the store does, counting one more upload that points to the file; its name ends in the SHA-256."""
        with self._lock:
            uri = self._store.write(name, data, media_type=media_type)
            self._pointing[uri] += 1
            return uri

    def settled(self, uri: str) -> None:
        """One upload that pointed to this file is judged or dead-lettered; the last one takes the file along."""
        with self._lock:
            if uri not in self._pointing:
                return
            self._pointing[uri] -= 1
            if self._pointing[uri] <= 0:
                del self._pointing[uri]
                Path(unquote(urlsplit(uri).path)).unlink(missing_ok=True)
