"""One piece of long work at a time, in a thread of its own: the coordinator goes on reading and can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Does one thing, named by a key, and keeps its result until it is fetched."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._key = ""
        self._future: Future[T] | None = None

    def ask(self, key: str, work: Callable[[], T]) -> Future[T] | None:
        """Begins the work unless it was begun; returns it once it is done.

        Args:
            key: Names the work. Asking for another forgets the one before, which must be done.
            work: What to do.
        """
        if self._future is None or self._key != key:
            self._key, self._future = key, self._pool.submit(work)
        return self._future if self._future.done() else None

    def forget(self) -> None:
        """Lets go of a result, so that the same key may be asked for again."""
        self._future = None

    def close(self) -> None:
        """Waits for what is under way."""
        self._pool.shutdown(cancel_futures=True)
