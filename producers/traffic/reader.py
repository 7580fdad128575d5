"""Reads the truth and verdict topics into an evaluation."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from producers.traffic.evaluation import Evaluation
from stream import messages
from stream.consumer import KafkaConsumer
from stream.errors import BrokerUnavailable, ContractError
from stream.events import Truth, Verdict
from stream.ports import Clock, Consumer
from stream.records import Partition, Record
from stream.settings import KafkaSettings

_READ_AT_ONCE = 500


class EvaluationReader:
    """Joins from the topics as they are read.

    It reads only what was committed and commits no offsets of its own, so any number of readers may look at once.
    A record that breaks the contract is counted in `unreadable` and passed over: this is a measurement, and the
    dead-letter topic is the workers' business.

    Args:
        consumer: A member of a group of its own; `follow` makes the real one.
        evaluation: Where events go.
        truths: Name of the truth topic.
        verdicts: Name of the verdict topic.
        live: Latency ends when a verdict is read here, not when it was decided: right only for a reader that keeps up.
        clock: Time.
    """

    def __init__(
        self,
        consumer: Consumer,
        evaluation: Evaluation,
        *,
        truths: str,
        verdicts: str,
        live: bool,
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._evaluation = evaluation
        self._truths = truths
        self._live = live
        self._clock = clock
        self._assigned: set[Partition] = set()
        self.unreadable = 0
        consumer.subscribe([truths, verdicts], on_assign=self._assign, on_revoke=self._revoke)

    def _assign(self, partitions: Sequence[Partition]) -> None:
        self._assigned.update(partitions)

    def _revoke(self, partitions: Sequence[Partition]) -> None:
        self._assigned.difference_update(partitions)

    def read(self, timeout_s: float = 0.1) -> int:
        """Takes what is ready; returns how many records that were.

        Raises:
            BrokerError: A failure that waiting does not mend.
        """
        records = self._consumer.poll(_READ_AT_ONCE, timeout_s)
        seen_at = datetime.fromtimestamp(self._clock.now(), UTC) if self._live else None
        for record in records:
            self._take(record, seen_at)
        return len(records)

    def read_to_end(
        self,
        *,
        idle_s: float,
        join_s: float = 30.0,
        stop: threading.Event | None = None,
        on_read: Callable[[], None] | None = None,
    ) -> None:
        """Reads until nothing came for ``idle_s`` seconds, or until ``stop`` is set.

        Args:
            idle_s: Infinity reads until it is stopped.
            join_s: How long the group may take to give this reader its partitions.
            stop: Ends the reading within a moment.
            on_read: Called about ten times a second.

        Raises:
            BrokerUnavailable: The group gave no partitions.
            BrokerError: A failure that waiting does not mend.
        """
        last = start = time.monotonic()
        while not (stop and stop.is_set()) and time.monotonic() - last < idle_s:
            if self.read() or not self._assigned:
                last = time.monotonic()
            if not self._assigned and last - start > join_s:
                remedy = "Check that the broker runs and that VERISTREAM_KAFKA__BOOTSTRAP names it"
                raise BrokerUnavailable(f"no partitions to read within {join_s:g} s", remedy=remedy)
            if on_read is not None:
                on_read()

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()

    def _take(self, record: Record, seen_at: datetime | None) -> None:
        try:
            if record.topic == self._truths:
                self._evaluation.truth(messages.decode(record, Truth))
            else:
                self._evaluation.verdict(messages.decode(record, Verdict), seen_at=seen_at)
        except ContractError:
            self.unreadable += 1


def fresh_consumer(settings: KafkaSettings, *, from_beginning: bool) -> KafkaConsumer:
    """A read-committed consumer in a group that nobody has used before."""
    return KafkaConsumer(
        settings,
        group=f"veristream-evaluate-{uuid4().hex[:12]}",
        client_id="evaluate",
        start="earliest" if from_beginning else "latest",
    )
