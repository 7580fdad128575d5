"""Taking what is ready from a queue, several at a time."""

from collections.abc import Iterator
from queue import Empty, Queue, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def batches(queue: SimpleQueue[T | None] | Queue[T | None], limit: int) -> Iterator[list[T]]:
    """Yields what is ready, at least one and at most ``limit`` items, until None comes out of the queue."""
    while (first := queue.get()) is not None:
        together = [first]
        while len(together) < limit:
            try:
                item = queue.get_nowait()
            except Empty:
                break
            if item is None:
                yield together
                return
            together.append(item)
        yield together
