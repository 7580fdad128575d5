"""Redeeming claim checks: bytes from the blob store, bounded in number and in bytes, patient with a store that is away.

What is wrong with one claim (nothing there, a place that is not allowed, other bytes than claimed) is that upload's
error. A store that does not answer is nobody's error: it is waited for, as the broker is, while back-pressure holds
uploads back.
"""

import logging
import random
import threading

from stream.blobs import redeem
from stream.errors import BlobUnavailable, ImageTooLarge
from stream.events import ImageClaim
from stream.ports import BlobStore

_log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


class ByteBudget:
    """Bytes that fetched pictures may hold at once; a fetch that would exceed it waits. One is always let in.

    Back-pressure on the consumer counts a claim check's few hundred bytes; what it points to is counted here.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._closed = False
        self._changed = threading.Condition()

    def acquire(self, size: int) -> None:
        """Waits until ``size`` more bytes fit, or until the budget is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._held or self._held + size <= self._limit)
            self._held += size

    def release(self, size: int) -> None:
        """Gives bytes back."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Ends every wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Fetcher:
    """Reads what claim checks point to. Thread-safe.

    Args:
        store: Where blobs lie.
        limit: Bytes a picture may have.
        stopping: Ends every wait.
    """

    def __init__(self, store: BlobStore, *, limit: int, stopping: threading.Event) -> None:
        self._store = store
        self._limit = limit
        self._stopping = stopping

    def fetch(self, claim: ImageClaim) -> bytes | None:
        """Returns the claimed bytes, size and digest checked; waits with back-off while the store is away.

        Returns:
            The bytes, or None when the worker stops first: the upload stays unanswered and is read again.

        Raises:
            BlobNotFound, BlobForbidden, BlobCorrupt: As named.
            ImageTooLarge: The claim, or what lies there, is over the limit.
        """
        if claim.size > self._limit:
            what = f"the claim says {claim.size} bytes, over the limit of {self._limit}"
            raise ImageTooLarge(what, where=claim.uri)
        wait = _FIRST_WAIT_S
        while not self._stopping.is_set():
            try:
                return redeem(claim, self._store, limit=self._limit)
            except BlobUnavailable as error:
                _log.warning("waiting for the blob store: %s", error)
            # Jitter keeps the fetching threads of many workers from asking again in step.
            self._stopping.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311  no secret
            wait = min(2 * wait, _LONGEST_WAIT_S)
        return None
