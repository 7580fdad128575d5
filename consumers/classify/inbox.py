"""What a thread of the pipeline takes its work from: items come one by one and leave several at a time."""

from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue with an end.

    Args:
        capacity: Items it holds at most; 0 for what is bounded elsewhere.
    """

    def __init__(self, capacity: int = 0) -> None:
        self._queue: Queue[T | None] = Queue(capacity)
        self._ended = False

    def put(self, item: T) -> None:
        """Adds an item; waits while the inbox is full."""
        self._queue.put(item)

    def offer(self, item: T) -> bool:
        """Adds an item unless the inbox is full; returns whether it did."""
        try:
            self._queue.put_nowait(item)
        except Full:
            return False
        return True

    def close(self) -> None:
        """Lets `batches` end after what is there."""
        self._queue.put(None)

    def batches(self, limit: int) -> Iterator[list[T]]:
        """Yields what is ready, at least one and at most ``limit`` items, until the inbox is closed.

        A list is emptied when the next one is asked for: a thread that waits keeps nothing alive, a model least of all.
        """
        while together := self._ready(limit):
            yield together
            together.clear()

    def _ready(self, limit: int) -> list[T]:
        together: list[T] = []
        while len(together) < limit and not self._ended:
            try:
                item = self._queue.get_nowait() if together else self._queue.get()
            except Empty:
                break
            if item is None:
                self._ended = True
            else:
                together.append(item)
        return together
