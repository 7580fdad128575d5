"""Work on many pictures in threads, results in order, only a few pictures in memory at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_AHEAD = 4


def in_order(function: Callable[[_In], _Out], items: Iterable[_In], *, threads: int) -> Iterator[_Out]:
    """``map`` in threads: decoders and resizers release the GIL, so it pays for pictures.

    Args:
        function: Called from any thread.
        items: Read in the calling thread, at most four for each thread ahead of what was taken.
        threads: How many, at least 1; with one the work is done in the calling thread.

    Raises:
        Exception: What ``function`` raised for an item, at that item's turn; nothing further is begun.
    """
    if threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= threads * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
