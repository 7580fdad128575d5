"""A Kafka broker without a server: librdkafka's mock cluster, inside this process, on a free loopback port.

It speaks the real protocol to clients in any process on this machine: consumer groups, idempotence and committed
transactions work. What it is not:

* **It does not isolate or fence transactions**: a ``read_committed`` reader sees open and aborted records at once, and
  a producer whose transactional id was taken over still commits. Exactly-once across an abort or a killed worker can
  therefore be shown on a real Kafka only.
* It keeps records in memory only, **at most 5 MiB or 100,000 batches per partition**, and drops the oldest without a
  word. Large pictures belong into a claim check, and a topic gets many partitions.
* It has no CreateTopics, DescribeConfigs, DescribeGroups or DeleteRecords. Topics are made with
  `EmbeddedBroker.create_topic`, or by themselves with 4 partitions.
* A transaction costs about 2 ms, on a real Kafka several times that: speed is measured on both.
"""

import logging
from enum import IntEnum
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Producer

from compose.embedded import librdkafka
from stream.errors import BrokerError, BrokerUnavailable, ConfigurationError

_ANSWER_S = 10.0
_MOST_PARTITIONS = 1000
_log = logging.getLogger(__name__)


class Api(IntEnum):
    """Kafka's request kinds by their numbers in the protocol, as far as the mock cluster answers them."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


class EmbeddedBroker:
    """One broker for as long as the ``with`` block lasts; its groups form without the usual wait of 3 s.

    The chaos methods (`down`, `up`, `latency`, `inject_errors`) act on all clients at once. Where confluent-kafka was
    built without a librdkafka to load, a plain mock broker takes over: it serves, its topics have 4 partitions
    whatever was asked for, a new group waits 3 s, and the chaos methods raise `ConfigurationError`.

    Raises:
        BrokerUnavailable: No loopback port could be opened.
    """

    def __init__(self) -> None:
        self._cluster: librdkafka.MockCluster | None = None
        self._plain: Producer | None = None
        try:
            self._cluster = librdkafka.MockCluster(librdkafka.load())
        except ConfigurationError as missing:
            _log.info("plain mock broker: %s", missing)
            self._plain = Producer({"test.mock.num.brokers": 1, "log_level": 3, "logger": _log})
            self.bootstrap = self._plain_bootstrap(self._plain)
        else:
            self.bootstrap = self._cluster.bootstrap
            self.group_initial_rebalance_delay(0)

    @staticmethod
    def _plain_bootstrap(client: Producer) -> str:
        try:
            brokers = client.list_topics(timeout=_ANSWER_S).brokers.values()
        except KafkaException as error:
            raise BrokerUnavailable(f"the embedded broker does not answer: {error}", where="embedded broker") from error
        return ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_topic(self, name: str, partitions: int) -> None:
        """Makes a topic; one that exists already is left as it is.

        Raises:
            ConfigurationError: Fewer than one or more than 1,000 partitions.
            BrokerError: The mock cluster refused it.
        """
        # librdkafka checks neither end: it makes a topic of none, and ends the process where memory does not suffice.
        if not 1 <= partitions <= _MOST_PARTITIONS:
            raise ConfigurationError(f"the embedded broker makes no topic of {partitions} partitions", where=name)
        if self._plain is not None:
            self._plain.list_topics(name, timeout=_ANSWER_S)
            return
        code = self._mock().create_topic(name, partitions)
        if code != KafkaError.TOPIC_ALREADY_EXISTS:
            self._check(code, f"topic {name} with {partitions} partitions was refused")

    def group_initial_rebalance_delay(self, delay_ms: int) -> None:
        """Sets how long a new group waits for more members before its first assignment."""
        self._mock().group_initial_rebalance_delay(delay_ms)

    def down(self) -> None:
        """Drops every connection and refuses new ones; records and group offsets stay."""
        self._check(self._mock().set_down(), "the embedded broker could not be taken down")

    def up(self) -> None:
        """Ends `down`."""
        self._check(self._mock().set_up(), "the embedded broker could not be brought up")

    def latency(self, milliseconds: int) -> None:
        """Delays every answer by this round trip; 0 ends it."""
        self._check(self._mock().set_round_trip(milliseconds), f"a round trip of {milliseconds} ms was refused")

    def inject_errors(self, api: Api, *errors: int) -> None:
        """Fails the next ``len(errors)`` requests of one kind with these `confluent_kafka.KafkaError` codes, in order.

        ``KafkaError._TRANSPORT`` drops the connection instead. Called without errors it forgets those still waiting.
        """
        if errors:
            self._mock().push_errors(api, list(errors))
        else:
            self._mock().clear_errors(api)

    def close(self) -> None:
        """Stops the broker; its records are gone. May be called again."""
        cluster, self._cluster, self._plain = self._cluster, None, None
        if cluster is not None:
            cluster.destroy()

    def _mock(self) -> librdkafka.MockCluster:
        if self._cluster is not None:
            return self._cluster
        if self._plain is not None:
            raise ConfigurationError(
                "this build of confluent-kafka serves an embedded broker but cannot steer it",
                where=self.bootstrap,
                remedy="Install the confluent-kafka wheel",
            )
        raise BrokerUnavailable("the embedded broker is closed", where=self.bootstrap)

    def _check(self, code: int, what: str) -> None:
        if code:
            raise BrokerError(f"{what}: {self._mock().describe(code)}", where=self.bootstrap)
