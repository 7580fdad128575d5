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

    def ask(self, key: str, work: Callable[[], T]) -> bool:
        """Begins the work unless it was begun; says whether it is done.

        Args:
            key: Names the work. Asking for another forgets the one before, which must be done.
            work: What to do.
        """
        if self._future is None or self._key != key:
            self._key, self._future = key, self._pool.submit(work)
        return self._future.done()

    def fetch(self) -> T:
        """Hands over what came of the work, its error included; the same key may then be asked for again."""
        if self._future is None:
            raise RuntimeError("nothing was asked for")
        done, self._future = self._future, None
        return done.result()

    def close(self) -> None:
        """Waits for what is under way."""
        self._pool.shutdown(cancel_futures=True)
