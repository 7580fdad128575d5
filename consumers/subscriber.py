"""The SDK for those who act on verdicts: typed, filtered, each handled at least once.

    with VerdictSubscriber("broker:9092", "takedown", verdicts={"ai_generated"}, min_p_ai=0.9) as verdicts:
        for verdict in verdicts:
            hide(verdict.upload_id)

Only committed verdicts are read (``read_committed``), and exactly one is ever committed per upload. A verdict's position is
committed after it was handled: a handler that raises is tried again with back-off, then its error reaches the caller
and the verdict stays where it is, for the next call or the next process. A subscriber that dies may see the verdicts
of its last moments again, so handlers should be idempotent; `upload_id` is the key. Verdicts that a filter leaves out
count as handled, so a quiet filter does not hold the position back.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self, TypeVar

from stream import messages
from stream.errors import BrokerUnavailable, ContractError
from stream.events import Verdict, VerdictName
from stream.kafka import KafkaConsumer
from stream.ports import Consumer
from stream.records import Partition, Record
from stream.settings import KafkaSettings, Settings
from stream.topics import layout

__all__ = ["AsyncVerdictSubscriber", "Filter", "VerdictSubscriber"]

_log = logging.getLogger("veristream.subscriber")

T = TypeVar("T")
Malformed = Callable[[Record, ContractError], None]

_POLL_S = 0.2
_MOST = 100
_QUICK_S = 1.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which verdicts are wanted.

    Attributes:
        verdicts: These only; None for all.
        min_p_ai: At least this probable to be machine-made; None for all.
        tenants: Of these platforms only; None for all.
    """

    verdicts: Collection[VerdictName] | None = None
    min_p_ai: float | None = None
    tenants: Collection[str] | None = None

    def wants(self, verdict: Verdict) -> bool:
        """Whether a verdict passes."""
        return (
            (self.verdicts is None or verdict.verdict in self.verdicts)
            and (self.min_p_ai is None or verdict.p_ai >= self.min_p_ai)
            and (self.tenants is None or verdict.tenant in self.tenants)
        )


class Feed:
    """The core of both subscribers: a verdict stays at the head until it is `done`. For one thread at a time."""

    def __init__(self, consumer: Consumer, topic: str, wanted: Filter, on_malformed: Malformed | None) -> None:
        self._consumer = consumer
        self._wanted = wanted
        self._on_malformed = on_malformed
        self._pending: deque[Record] = deque()
        self._handled: dict[Partition, int] = {}
        self._limit = 1
        self._polled = time.monotonic()
        consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)

    def head(self) -> Verdict | None:
        """The next wanted verdict, the same one until it is `done`; None when there is none for a moment.

        Raises:
            ContractError: A record is no verdict this release can read, and nobody takes malformed ones.
            BrokerError: A failure that waiting does not mend.
        """
        if not self._pending:
            self._poll()
        while self._pending:
            verdict = self._read(self._pending[0])
            if verdict is not None and self._wanted.wants(verdict):
                return verdict
            self.done()
        return None

    def done(self) -> None:
        """The head was handled; its position is committed before anything further is read."""
        record = self._pending.popleft()
        self._handled[record.tp] = record.offset + 1
        if not self._pending:
            self._commit()

    def close(self) -> None:
        """Commits what was handled and leaves the group."""
        self._commit()
        self._consumer.close()

    def _poll(self) -> None:
        # A slow handler gets few verdicts at a time, else its group would think it dead and pass them to another.
        quick = time.monotonic() - self._polled < _QUICK_S
        self._limit = min(2 * self._limit, _MOST) if quick else max(1, self._limit // 2)
        self._pending.extend(self._consumer.poll(self._limit, _POLL_S))
        self._polled = time.monotonic()

    def _read(self, record: Record) -> Verdict | None:
        try:
            return messages.decode(record, Verdict)
        except ContractError as error:
            if self._on_malformed is None:
                raise
            self._on_malformed(record, error)
            return None

    def _commit(self) -> None:
        if not self._handled:
            return
        try:
            self._consumer.commit(self._handled)
        except BrokerUnavailable as error:
            _log.warning("positions will be committed later: %s", error)
        else:
            self._handled = {}

    def _assigned(self, partitions: Sequence[Partition]) -> None:
        _log.debug("reading %s", partitions)

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        self._commit()
        gone = set(partitions)
        self._handled = {tp: offset for tp, offset in self._handled.items() if tp not in gone}
        self._pending = deque(record for record in self._pending if record.tp not in gone)


def _waits(retries: int) -> Iterator[float | None]:
    """Seconds to wait after each failed attempt; None after the last."""
    wait = _FIRST_WAIT_S
    for _ in range(retries):
        yield wait
        wait = min(2 * wait, _LONGEST_WAIT_S)
    yield None


class VerdictSubscriber:
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
        settings = Settings(kafka=KafkaSettings(bootstrap=kafka)) if isinstance(kafka, str) else kafka
        self._feed = Feed(
            consumer or KafkaConsumer(settings.kafka, group=group, client_id=group, start=start),
            layout(settings.topics)["verdicts"].name,
            Filter(verdicts, min_p_ai, tenants),
            on_malformed,
        )
        self._retries = retries

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
        """Calls ``handler`` with every verdict until ``stop`` is set or ``limit`` were handled.

        Returns:
            How many were handled.

        Raises:
            Exception: What the handler raised at its last attempt; the verdict is not lost.
        """
        stop = stop or threading.Event()
        handled = 0
        while not stop.is_set() and (limit is None or handled < limit):
            verdict = self._feed.head()
            if verdict is None:
                continue
            self._handle(handler, verdict, stop)
            self._feed.done()
            handled += 1
        return handled

    def close(self) -> None:
        """Commits what was handled and leaves the group."""
        self._feed.close()

    def _handle(self, handler: Callable[[Verdict], object], verdict: Verdict, stop: threading.Event) -> None:
        for wait_s in _waits(self._retries):
            try:
                handler(verdict)
            except Exception as error:
                if wait_s is None or stop.wait(wait_s):
                    raise
                _log.warning("a handler failed on %s and is called again: %r", verdict.upload_id, error)
            else:
                return


class AsyncVerdictSubscriber:
    """`VerdictSubscriber` for asyncio: the same promises and arguments; Kafka is read in a thread of its own.

        async with AsyncVerdictSubscriber("broker:9092", "takedown") as verdicts:
            async for verdict in verdicts:
                await hide(verdict.upload_id)
    """

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
        pass
