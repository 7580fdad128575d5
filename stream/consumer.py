"""The consumer: a member of a group that reads what was committed and never skips in silence."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Literal

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream.errors import BrokerUnavailable, OffsetsLost, VeristreamError, WorkerFenced
from stream.kafka import consumer_config, explain, log, record
from stream.ports import Assigned
from stream.records import Partition, Record
from stream.settings import KafkaSettings

_ANSWER_S = 10.0
_DRAINED = 1000


class KafkaConsumer:
    """A member of a consumer group; see `stream.ports.Consumer`.

    While one thread polls, a call from another may wait for ever (confluent-kafka 2.16). So the polling thread makes
    every call: it keeps the group metadata at hand, and commits for other threads between two polls.

    Args:
        settings: How to reach Kafka.
        group: Consumer group.
        client_id: Name in the broker's logs, and the static member id when that is switched on.
        start: Where a group without committed offsets begins.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        group: str,
        client_id: str,
        start: Literal["earliest", "latest"] = "earliest",
    ) -> None:
        self._settings = settings
        self._group = group
        self._start = OFFSET_BEGINNING if start == "earliest" else OFFSET_END
        self._failure: VeristreamError | None = None
        self._closing = False
        self._quiet_until = 0.0
        self._membership: object = None
        self._poller = threading.get_ident()
        self._deferred: dict[Partition, int] = {}
        self._deferring = threading.Lock()
        self._consumer = Consumer(consumer_config(settings, group=group, client_id=client_id), logger=log)

    def subscribe(self, topics: Sequence[str], *, on_assign: Assigned, on_revoke: Assigned) -> None:
        """Joins the group; the calling thread is the one that polls."""
        self._poller = threading.get_ident()

        def assigned(consumer: Consumer, parts: list[TopicPartition]) -> None:
            if self._closing:
                # Leaving the group before its first assignment came: nothing will be read, so nothing is looked up.
                consumer.incremental_assign(parts)
                return
            on_assign(_partitions(parts))
            consumer.incremental_assign(self._where_to_start(parts))

        def revoked(consumer: Consumer, parts: list[TopicPartition]) -> None:
            on_revoke(_partitions(parts))
            self._commit_deferred()
            self._forget_deferred(_partitions(parts))
            consumer.incremental_unassign(parts)

        self._consumer.subscribe(list(topics), on_assign=assigned, on_revoke=revoked, on_lost=revoked)

    def poll(self, limit: int, timeout_s: float) -> list[Record]:
        """Returns what is ready; waits only for the first record, since asking for n waits for n."""
        self._commit_deferred()
        messages = self._consumer.consume(limit, 0) or self._consumer.consume(1, timeout_s)
        self._membership = self._consumer.consumer_group_metadata()
        if self._failure is not None:
            raise self._failure
        return [record(message) for message in messages if not self._is_error(message)]

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stops fetching these partitions."""
        self._consumer.pause(_topic_partitions(partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Fetches these partitions again."""
        self._consumer.resume(_topic_partitions(partitions))

    def lag(self, partitions: Sequence[Partition]) -> int:
        """Records between position and end, from what the last fetches said; no request is made."""
        total = 0
        for position in self._consumer.position(_topic_partitions(partitions)) if partitions else []:
            low, high = self._consumer.get_watermark_offsets(position, cached=True) or (0, 0)
            total += max(0, high - max(position.offset, low, 0))
        return total

    def rewind(self) -> None:
        """Seeks every assigned partition back to the group's committed offset."""
        for part in self._where_to_start(self._consumer.assignment()):
            self._consumer.seek(part)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commits offsets: at once in the polling thread, otherwise before the next poll or hand-over."""
        if threading.get_ident() != self._poller:
            with self._deferring:
                self._deferred |= offsets
            return
        parts = [TopicPartition(tp.topic, tp.partition, offset) for tp, offset in offsets.items()]
        what = "offsets were not committed"
        try:
            answers = self._consumer.commit(offsets=parts, asynchronous=False) or []
        except KafkaException as error:
            raise explain(error.args[0], what, self._settings.bootstrap) from error
        for fault in (part.error for part in answers if part.error is not None):
            raise explain(fault, what, self._settings.bootstrap)

    def group_metadata(self) -> object:
        """The membership that fences a transaction, as of the last `poll`."""
        return self._membership

    def close(self) -> None:
        """Commits what other threads asked for and leaves the group; in the polling thread, or after it has ended."""
        self._poller = threading.get_ident()
        self._closing = True
        self._commit_deferred()
        self._give_up_partitions()
        self._consumer.close()

    def _give_up_partitions(self) -> None:
        """Ends the membership first.

        A partition handed over while librdkafka already closes waits for ever, and the whole process with it: giving
        a partition back holds the interpreter's lock (librdkafka 2.16; librdkafka's issues 4041 and 4527).
        """
        if not self._settings.static_membership:  # A static member keeps its partitions through a restart.
            self._consumer.unsubscribe()
        deadline = time.monotonic() + _ANSWER_S
        while time.monotonic() < deadline:
            served = self._consumer.consume(_DRAINED, 0.01)
            if not served and (self._settings.static_membership or not self._consumer.assignment()):
                return

    def _commit_deferred(self) -> None:
        with self._deferring:
            offsets = dict(self._deferred)
        if not offsets:
            return
        try:
            self.commit(offsets)
        except BrokerUnavailable as error:
            # Kept for the next poll; during a rebalance the broker takes no commits.
            log.info("offsets are committed later: %s", error)
        else:
            with self._deferring:
                self._deferred = {tp: offset for tp, offset in self._deferred.items() if offset != offsets.get(tp)}

    def _forget_deferred(self, partitions: Sequence[Partition]) -> None:
        with self._deferring:
            self._deferred = {tp: offset for tp, offset in self._deferred.items() if tp not in partitions}

    def _where_to_start(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        committed = self._committed(parts)
        for part in committed:
            if part.offset < 0:
                part.offset = self._start
        return committed

    def _committed(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        deadline = time.monotonic() + 6 * _ANSWER_S
        while parts:
            try:
                return self._consumer.committed(parts, timeout=_ANSWER_S)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    self._failure = explain(error.args[0], "committed offsets cannot be read", self._settings.bootstrap)
                    return parts
                log.warning("committed offsets cannot be read yet: %s", error.args[0].str())
        return parts

    def _is_error(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise OffsetsLost(
                f"group {self._group} has committed an offset that is no longer in the topic: {error.str()}",
                where=f"{message.topic()}[{message.partition()}]",
                remedy="Retention ran past the workers. Decide where to go on and set the group's offsets by hand",
            )
        if error.code() == KafkaError.FENCED_INSTANCE_ID:
            remedy = "Two workers share VERISTREAM_WORKER__ID; give each its own"
            raise WorkerFenced("another worker joined with this static member id", where=self._group, remedy=remedy)
        problem = explain(error, f"reading {message.topic() or self._group}", self._settings.bootstrap)
        if error.fatal() or not problem.retryable:
            raise problem
        if time.monotonic() > self._quiet_until:
            self._quiet_until = time.monotonic() + _ANSWER_S
            log.warning("waiting for the broker: %s", problem)
        return True


def _partitions(parts: Sequence[TopicPartition]) -> list[Partition]:
    return [Partition(part.topic, part.partition) for part in parts]


def _topic_partitions(partitions: Sequence[Partition]) -> list[TopicPartition]:
    return [TopicPartition(tp.topic, tp.partition) for tp in partitions]
