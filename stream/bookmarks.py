"""Positions that are kept by hand: from where a reader must read again after a restart, and how far it had read.

A group's committed offset says one thing: where to go on. Whoever collects records before it answers needs two: the
oldest record it still holds unanswered, and the first it has never seen. Both are kept as one committed offset of a
group that nobody joins: the offset is the older position, its metadata the newer.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream.kafka import consumer_config, explain, log, partitions
from stream.records import Partition
from stream.settings import KafkaSettings

_ANSWER_S = 10.0


class Bookmark(NamedTuple):
    """Where one partition stands: the oldest record still needed, and the first that was never handled."""

    needed: int
    unseen: int


class Bookmarks:
    """Keeps bookmarks in Kafka. For one thread at a time.

    Args:
        settings: How to reach Kafka.
        group: A group of its own; it has no members.
    """

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._consumer = Consumer(consumer_config(settings, group=group, client_id=group), logger=log)

    def read(self, topics: Sequence[str]) -> dict[Partition, Bookmark]:
        """What was kept; partitions without a bookmark are left out.

        Raises:
            BrokerError: The broker does not answer, or refuses.
        """
        try:
            known = self._consumer.list_topics(timeout=_ANSWER_S)
            parts = [TopicPartition(*tp) for tp in partitions(known, topics)]
            found = self._consumer.committed(parts, timeout=_ANSWER_S) if parts else []
        except KafkaException as error:
            raise explain(error.args[0], "bookmarks cannot be read", self._settings.bootstrap) from error
        return {
            Partition(part.topic, part.partition): Bookmark(part.offset, _unseen(part))
            for part in found
            if part.offset >= 0
        }

    def keep(self, bookmarks: Mapping[Partition, Bookmark]) -> None:
        """Commits bookmarks.

        Raises:
            BrokerError: They were not committed.
        """
        if not bookmarks:
            return
        parts = [TopicPartition(*tp, mark.needed, str(mark.unseen)) for tp, mark in bookmarks.items()]
        try:
            answers = self._consumer.commit(offsets=parts, asynchronous=False) or []
        except KafkaException as error:
            raise explain(error.args[0], "bookmarks were not kept", self._settings.bootstrap) from error
        for fault in (part.error for part in answers if part.error is not None):
            raise explain(fault, "bookmarks were not kept", self._settings.bootstrap)

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()


def _unseen(part: TopicPartition) -> int:
    text = part.metadata or ""
    # Without metadata somebody set the offset by hand, to say where to go on.
    return max(part.offset, int(text)) if text.isdecimal() else part.offset
