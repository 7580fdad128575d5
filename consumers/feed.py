"""What a subscriber reads from: verdicts one by one, each staying at the head until it was handled."""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from stream import messages
from stream.errors import BrokerUnavailable, ContractError
from stream.events import Verdict, VerdictName
from stream.ports import Consumer
from stream.records import Partition, Record

_log = logging.getLogger("veristream.subscriber")

Malformed = Callable[[Record, ContractError], None]

_POLL_S = 0.2
_MOST = 100
_QUICK_S = 1.0


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
        self._topic = topic
        self._subscribed = False

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
        if not self._subscribed:
            # Here and not at once: a Kafka consumer belongs to the thread that subscribes.
            self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
            self._subscribed = True
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
