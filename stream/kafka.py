"""Kafka clients on librdkafka, with the settings that matter explained.

`KafkaConsumer` and `KafkaProducer` implement the ports of the same names; `stream.transactions` holds the committers.
Every client writes through the logger ``veristream.kafka``: without one, librdkafka writes each failed connect to
stderr.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from stream.errors import BrokerError, BrokerUnavailable, DeliveryFailed, OffsetsLost, VeristreamError, WorkerFenced
from stream.ports import Assigned, Delivered
from stream.records import Outgoing, Partition, Record
from stream.settings import KafkaSettings

log = logging.getLogger("veristream.kafka")

_ANSWER_S = 10.0
_WAITABLE = frozenset({
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    # The group is between two generations; what is ours afterwards can be committed then.
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
})  # fmt: skip


def client_config(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """What every client needs: where the brokers are, and who we are."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": settings.security_protocol,
        "client.id": client_id,
        # Small requests must not wait for a full segment: transactions are nothing but small requests.
        "socket.nagle.disable": True,
        # After an outage the first reconnect should come soon; the ceiling keeps a restarting broker from a stampede.
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 2000,
        "allow.auto.create.topics": False,
    }
    if settings.security_protocol.startswith("SASL"):
        config |= {
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.sasl_username,
            "sasl.password": settings.sasl_password.get_secret_value(),
        }
    if settings.ssl_ca_location is not None:
        config["ssl.ca.location"] = str(settings.ssl_ca_location)
    return config


def consumer_config(settings: KafkaSettings, *, group: str, client_id: str) -> dict[str, Any]:
    """A group member that reads only what was committed and never skips in silence."""
    config = client_config(settings, client_id) | {
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Offsets that fell out of the topic are an error for a person to see, not a reason to jump.
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": min(1000, settings.session_timeout_ms // 3),
        # Defaults stall up to a second between fetches when the local queue was full or the topic ran dry.
        # The embedded broker answers an idle fetch only when this time is over, whatever arrives meanwhile.
        "fetch.wait.max.ms": 10 if settings.embedded else 50,
        "fetch.queue.backoff.ms": 20,
        # Bounds what librdkafka holds beyond our own back-pressure.
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.message.max.bytes": 2 * 1024 * 1024,
    }
    if settings.static_membership:
        config["group.instance.id"] = client_id
    return config


def producer_config(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """An idempotent producer: acknowledged by all in-sync replicas, in order, no duplicates from retries."""
    return client_config(settings, client_id) | {
        "enable.idempotence": True,
        "linger.ms": 2,
        "message.max.bytes": 4 * 1024 * 1024,
        "queue.buffering.max.kbytes": 128 * 1024,
    }


def explain(error: KafkaError, what: str, bootstrap: str) -> BrokerError:
    """Turns librdkafka's error into one of ours, in words."""
    if error.code() in _WAITABLE or error.retriable():
        remedy = "Check that the broker runs and that VERISTREAM_KAFKA__BOOTSTRAP names it"
        return BrokerUnavailable(f"{what}: {error.str()}", where=bootstrap, remedy=remedy)
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        return BrokerError(f"{what}: {error.str()}", where=bootstrap, remedy="Grant this client the missing ACL")
    return BrokerError(f"{what}: {error.str()}", where=bootstrap)


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
        """Commits what other threads asked for and leaves the group."""
        self._closing = True
        self._commit_deferred()
        self._consumer.close()

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


class KafkaProducer:
    """Sends records; see `stream.ports.Producer`. Delivery callbacks run in a thread of its own."""

    def __init__(self, settings: KafkaSettings, *, client_id: str) -> None:
        self._bootstrap = settings.bootstrap
        self._producer = Producer(producer_config(settings, client_id), logger=log)
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name=f"{client_id}-delivery", daemon=True)
        self._poller.start()

    def send(self, record: Outgoing, on_delivery: Delivered | None = None) -> None:
        """Queues a record.

        Raises:
            DeliveryFailed: The record can never be sent, because it is larger than the client or broker allows.
        """
        while True:
            try:
                return produce(self._producer, record, self._told(on_delivery))
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                what = f"a record for {record.topic} was refused: {error.args[0].str()}"
                raise DeliveryFailed(what, where=self._bootstrap) from error

    def flush(self, timeout_s: float) -> int:
        """Waits for what is queued."""
        return self._producer.flush(timeout_s)

    def close(self) -> None:
        """Flushes and ends the delivery thread.

        Raises:
            DeliveryFailed: Records are still unacknowledged after ten seconds.
        """
        left = self.flush(_ANSWER_S)
        self._closing.set()
        self._poller.join()
        if left:
            self._producer.purge()
            remedy = "Check that the broker runs; send these records again"
            raise DeliveryFailed(f"{left} records were not acknowledged", where=self._bootstrap, remedy=remedy)

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.1)

    def _told(self, on_delivery: Delivered | None) -> Any:
        if on_delivery is None:
            return None

        def told(error: KafkaError | None, message: Message) -> None:
            what = f"a record for {message.topic()} was not acknowledged"
            on_delivery(None if error is None else DeliveryFailed(f"{what}: {error.str()}", where=self._bootstrap))

        return told


def produce(producer: Producer, out: Outgoing, on_delivery: Any = None) -> None:
    """Hands one record to a librdkafka producer."""
    producer.produce(out.topic, value=out.value, key=out.key, headers=list(out.headers), on_delivery=on_delivery)


def record(message: Message) -> Record:
    """One message as a `Record`; its bytes are not copied."""
    kind, timestamp = message.timestamp()
    headers: Any = message.headers() or ()
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=timestamp if kind else 0,
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value or b"") for name, value in headers),
    )


def _partitions(parts: Sequence[TopicPartition]) -> list[Partition]:
    return [Partition(part.topic, part.partition) for part in parts]


def _topic_partitions(partitions: Sequence[Partition]) -> list[TopicPartition]:
    return [TopicPartition(tp.topic, tp.partition) for tp in partitions]
