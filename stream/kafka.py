"""Kafka clients on librdkafka, with the settings that matter explained.

`KafkaProducer` implements `stream.ports.Producer`; the consumer is in `stream.consumer`, the committers are in
`stream.transactions`.
Every client writes through the logger ``veristream.kafka``: without one, librdkafka writes each failed connect to
stderr.
"""

import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from confluent_kafka import (
    KafkaError,
    KafkaException,
    Message,
    Producer,
)

from stream.errors import BrokerError, BrokerUnavailable, DeliveryFailed
from stream.ports import Delivered
from stream.records import Outgoing, Partition, Record
from stream.settings import KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

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


def is_mock_cluster(metadata: "ClusterMetadata") -> bool:
    """Whether this is librdkafka's mock cluster: admin calls would wait in vain for its controller, which is missing.

    It also forgets offsets that were committed in a transaction.
    """
    return metadata.controller_id not in metadata.brokers


def partitions(metadata: "ClusterMetadata", topics: Iterable[str]) -> list[Partition]:
    """The partitions of those topics that exist, as a listing of all topics tells them."""
    known = metadata.topics
    return [Partition(topic, number) for topic in topics if topic in known for number in known[topic].partitions]


def explain(error: KafkaError, what: str, bootstrap: str) -> BrokerError:
    """Turns librdkafka's error into one of ours, in words."""
    if error.code() in _WAITABLE or error.retriable():
        # A broker that refuses a password closes the connection, and is gone like one that never answered.
        remedy = (
            "Check that the broker runs, that VERISTREAM_KAFKA__BOOTSTRAP names it, and that "
            "VERISTREAM_KAFKA__SECURITY_PROTOCOL, and mechanism, user name and password with it, are what it asks for"
        )
        return BrokerUnavailable(f"{what}: {error.str()}", where=bootstrap, remedy=remedy)
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        return BrokerError(f"{what}: {error.str()}", where=bootstrap, remedy="Grant this client the missing ACL")
    return BrokerError(f"{what}: {error.str()}", where=bootstrap)


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
