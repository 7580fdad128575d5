"""A consumer that only looks on: it joins no group, commits nothing and leaves no trace."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream.errors import BrokerUnavailable
from stream.kafka import consumer_config, explain, partitions, record
from stream.records import Partition, Record
from stream.settings import KafkaSettings

# What keeps a reader from the broker is raised, once; librdkafka would tell it at every attempt, hundreds of times.
_mute = logging.getLogger("veristream.kafka.onlooker")
_mute.addHandler(logging.NullHandler())
_mute.propagate = False

_GROUP = "veristream-snapshot"
ANSWER_S = 10.0


class Onlooker:
    """Reads committed records from any offset, for as long as the ``with`` block lasts. For one thread.

    Every method but `leave` raises `BrokerUnavailable` where the broker is silent, and `BrokerError` where it refuses.

    Args:
        settings: How to reach Kafka.
        timeout_s: Longest silence of the broker, seconds.
    """

    def __init__(self, settings: KafkaSettings, *, timeout_s: float) -> None:
        self._bootstrap = settings.bootstrap
        self._timeout_s = timeout_s
        config = consumer_config(settings, group=_GROUP, client_id=_GROUP) | {
            "enable.partition.eof": True,
            # An offset that retention has overtaken means here: from the oldest that is left.
            "auto.offset.reset": "earliest",
        }
        self._consumer = Consumer(config, logger=_mute)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def partitions(self, topics: Iterable[str]) -> set[Partition]:
        """The partitions of those topics that exist."""
        with self._explained("topics cannot be listed"):
            return set(partitions(self._consumer.list_topics(timeout=self._timeout_s), topics))

    def offsets(self, tp: Partition) -> range:
        """From the oldest offset of a partition to its present end."""
        with self._explained(f"{tp.topic} cannot be looked up"):
            return range(*self._consumer.get_watermark_offsets(TopicPartition(*tp), timeout=self._timeout_s))

    def start(self, starts: Mapping[Partition, int]) -> None:
        """Begins to read partitions, each at its offset."""
        self._consumer.assign([TopicPartition(*tp, offset) for tp, offset in starts.items()])

    def hear(self, waiting: Iterable[Partition]) -> tuple[Partition, Record | None]:
        """Waits for the next record, or the present end of a partition, which is None; in order within a partition.

        Args:
            waiting: What is waited for, to be named where nothing comes.
        """
        while True:
            message = self._consumer.poll(self._timeout_s)
            if message is None:
                names = ", ".join(sorted({tp.topic for tp in waiting}))
                raise BrokerUnavailable(
                    f"nothing was heard of {names} for {self._timeout_s:g} s", where=self._bootstrap
                )
            fault = message.error()
            if fault is None:
                found = record(message)
                return found.tp, found
            if fault.code() == KafkaError._PARTITION_EOF:
                return Partition(message.topic() or "", message.partition() or 0), None
            problem = explain(fault, "reading", self._bootstrap)
            if not problem.retryable:
                raise problem

    def jump(self, tp: Partition, offset: int) -> None:
        """Goes on reading a partition at another offset."""
        with self._explained(f"{tp.topic} cannot be read on"):
            self._consumer.seek(TopicPartition(*tp, offset))

    def leave(self, tp: Partition) -> None:
        """Reads no more of a partition; what was fetched of it before may still be heard."""
        self._consumer.incremental_unassign([TopicPartition(*tp)])

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise explain(error.args[0], what, self._bootstrap) from error
