"""The SDK for those who act on verdicts: typed, filtered, each handled at least once.

    with VerdictSubscriber("broker:9092", "takedown", verdicts={"ai_generated"}, min_p_ai=0.9) as verdicts:
        for verdict in verdicts:
            hide(verdict.upload_id)

Only committed verdicts are read (``read_committed``), and exactly one is ever committed per upload. A verdict's
position is committed after it was handled: a handler that raises is tried again with back-off, then its error
reaches the caller and the verdict stays where it is, for the next call or the next process. A subscriber that dies
may see the verdicts of its last moments again, so handlers should be idempotent; `upload_id` is the key. Verdicts
that a filter leaves out count as handled, so a quiet filter does not hold the position back.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Literal, Self, TypeVar

from consumers.feed import Feed, Filter, Malformed
from stream.consumer import KafkaConsumer
from stream.events import Verdict, VerdictName
from stream.ports import Consumer
from stream.settings import Settings, load
from stream.topics import layout

__all__ = ["AsyncVerdictSubscriber", "VerdictSubscriber"]

_log = logging.getLogger("veristream.subscriber")

T = TypeVar("T")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


class _Subscriber:
    """What both subscribers are made of."""

    def __init__(
        self,
        kafka: Settings | str,
        group: str,
        *,
        verdicts: Collection[VerdictName] | None = None,
        min_p_ai: float | None = None,
        tenants: Collection[str] | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        retries: int = 5,
        on_malformed: Malformed | None = None,
        consumer: Consumer | None = None,
    ) -> None:
        settings = _at(kafka) if isinstance(kafka, str) else kafka
        self._retries = retries
        self._feed = Feed(
            consumer
            or KafkaConsumer(settings.kafka, group=group, client_id=f"{group}-{settings.worker.id}", start=start),
            layout(settings.topics)["verdicts"].name,
            Filter(verdicts, min_p_ai, tenants),
            on_malformed,
        )

    def _waits(self) -> Iterator[float | None]:
        """Seconds to wait after each failed attempt; None after the last."""
        wait = _FIRST_WAIT_S
        for _ in range(self._retries):
            yield wait
            wait = min(2 * wait, _LONGEST_WAIT_S)
        yield None


class VerdictSubscriber(_Subscriber):
    """Reads verdicts as a member of a group.

    Args:
        kafka: Where: ``host:port``, or all settings.
        group: Consumer group; members share the verdicts and the position.
        verdicts: These only; None for all.
        min_p_ai: At least this probable to be machine-made; None for all.
        tenants: Of these platforms only; None for all.
        start: Where a group without a position begins.
        retries: How often a handler that raised is called again before its error reaches the caller.
        on_malformed: Takes records that are no verdicts, which then count as handled. Without it they raise
            `stream.errors.ContractError` and the position stays before them.
        consumer: Read from this one instead, such as a `stream.doubles.MemoryConsumer`.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Verdict]:
        """Yields verdicts for ever; each counts as handled when the next one is asked for."""
        while True:
            verdict = self._feed.head()
            if verdict is not None:
                yield verdict
                self._feed.done()

    def run(
        self, handler: Callable[[Verdict], object], *, stop: threading.Event | None = None, limit: int | None = None
    ) -> int:
        """Calls ``handler`` with every verdict until ``stop`` is set or ``limit`` were handled; returns how many were.

        Raises:
            Exception: What the handler raised at its last attempt; the verdict is not lost.
        """
        stop = stop or threading.Event()
        handled = 0
        while not stop.is_set() and (limit is None or handled < limit):
            verdict = self._feed.head()
            if verdict is not None:
                self._handle(handler, verdict, stop)
                self._feed.done()
                handled += 1
        return handled

    def close(self) -> None:
        """Commits what was handled and leaves the group."""
        self._feed.close()

    def _handle(self, handler: Callable[[Verdict], object], verdict: Verdict, stop: threading.Event) -> None:
        for wait_s in self._waits():
            try:
                handler(verdict)
            except Exception as error:
                if wait_s is None or stop.wait(wait_s):
                    raise
                _log.warning("a handler failed on %s and is called again: %r", verdict.upload_id, error)
            else:
                return


class AsyncVerdictSubscriber(_Subscriber):
    """`VerdictSubscriber` for asyncio: the same arguments and promises; Kafka is read in a thread of its own.

    Cancelling is safe at any time: a verdict that was not handled stays where it is.
    """

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="verdicts")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Verdict]:
        """Yields verdicts for ever; each counts as handled when the next one is asked for."""
        while True:
            verdict = await self._call(self._feed.head)
            if verdict is not None:
                yield verdict
                await self._call(self._feed.done)

    async def run(self, handler: Callable[[Verdict], Awaitable[object]], *, limit: int | None = None) -> int:
        """Awaits ``handler`` with every verdict until cancelled or ``limit`` were handled; returns how many were.

        Raises:
            Exception: What the handler raised at its last attempt; the verdict is not lost.
        """
        handled = 0
        while limit is None or handled < limit:
            verdict = await self._call(self._feed.head)
            if verdict is not None:
                await self._handle(handler, verdict)
                await self._call(self._feed.done)
                handled += 1
        return handled

    async def close(self) -> None:
        """Commits what was handled and leaves the group."""
        await self._call(self._feed.close)
        self._thread.shutdown()

    async def _handle(self, handler: Callable[[Verdict], Awaitable[object]], verdict: Verdict) -> None:
        for wait_s in self._waits():
            try:
                await handler(verdict)
            except Exception as error:
                if wait_s is None:
                    raise
                _log.warning("a handler failed on %s and is called again: %r", verdict.upload_id, error)
                await asyncio.sleep(wait_s)
            else:
                return

    async def _call(self, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)


def _at(bootstrap: str) -> Settings:
    settings = load()
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": bootstrap})})
