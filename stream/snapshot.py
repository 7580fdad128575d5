"""Reading a topic from a point to its present end, without joining a group and without leaving a trace."""

import logging
from collections.abc import Iterator, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from stream.errors import BrokerUnavailable
from stream.kafka import consumer_config, explain, record
from stream.records import Partition, Record
from stream.settings import KafkaSettings

# What keeps a reader from the broker is raised, once; librdkafka would tell it at every attempt, hundreds of times.
_mute = logging.getLogger("veristream.kafka.snapshot")
_mute.addHandler(logging.NullHandler())
_mute.propagate = False

_GROUP = "veristream-snapshot"
_ANSWER_S = 10.0


def read_all(
    settings: KafkaSettings,
    topics: Sequence[str],
    *,
    after: Mapping[Partition, int] | None = None,
    timeout_s: float = _ANSWER_S,
) -> Iterator[Record]:
    """Yields what is committed in these topics, up to their ends as they are met; in order within a partition.

    Args:
        settings: How to reach Kafka.
        topics: Topics to read; one that does not exist is empty.
        after: First offset to read of a partition; a partition that is not named is read from its beginning.
        timeout_s: Longest silence of the broker, seconds.

    Raises:
        BrokerUnavailable: The broker is silent for that long.
        BrokerError: It refuses.
    """
    config = consumer_config(settings, group=_GROUP, client_id=_GROUP) | {
        "enable.partition.eof": True,
        # An offset that retention has overtaken means here: from the oldest that is left.
        "auto.offset.reset": "earliest",
    }
    starts = after or {}
    consumer = Consumer(config, logger=_mute)
    try:
        unread = _partitions(consumer, settings, topics, timeout_s)
        consumer.assign([TopicPartition(*tp, starts.get(tp, OFFSET_BEGINNING)) for tp in unread])
        while unread:
            message = consumer.poll(timeout_s)
            if message is None:
                what = f"nothing was heard of {', '.join(sorted({tp.topic for tp in unread}))} for {timeout_s:g} s"
                raise BrokerUnavailable(what, where=settings.bootstrap)
            fault = message.error()
            if fault is None:
                yield record(message)
            elif fault.code() == KafkaError._PARTITION_EOF:
                unread.discard(Partition(message.topic() or "", message.partition() or 0))
            else:
                problem = explain(fault, "reading", settings.bootstrap)
                if not problem.retryable:
                    raise problem
    finally:
        consumer.close()


def newest(settings: KafkaSettings, topic: str, count: int, *, timeout_s: float = _ANSWER_S) -> Iterator[Record]:
    """Yields about the last ``count`` records of every partition of a topic; see `read_all`.

    Offsets that hold no record (markers of transactions, compacted ones) count as records.

    Raises:
        BrokerUnavailable: The broker is silent for that long.
        BrokerError: It refuses.
    """
    consumer = Consumer(consumer_config(settings, group=_GROUP, client_id=_GROUP), logger=_mute)
    try:
        starts = {
            tp: max(low, high - count)
            for tp in _partitions(consumer, settings, [topic], timeout_s)
            for low, high in [consumer.get_watermark_offsets(TopicPartition(*tp), timeout=timeout_s)]
        }
    except KafkaException as error:
        raise explain(error.args[0], f"{topic} cannot be looked up", settings.bootstrap) from error
    finally:
        consumer.close()
    return read_all(settings, [topic], after=starts, timeout_s=timeout_s)


def read_at(
    settings: KafkaSettings, places: Sequence[tuple[Partition, int]], *, timeout_s: float = _ANSWER_S
) -> Iterator[Record]:
    """Yields the records at these offsets; one that is gone, or was never committed, is left out.

    Raises:
        BrokerUnavailable: The broker is silent for that long.
        BrokerError: It refuses.
    """
    config = consumer_config(settings, group=_GROUP, client_id=_GROUP) | {
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer(config, logger=_mute)
    try:
        for tp, offset in places:
            consumer.assign([TopicPartition(*tp, offset)])
            message = consumer.poll(timeout_s)
            if message is None:
                raise BrokerUnavailable(
                    f"nothing was heard of {tp.topic} for {timeout_s:g} s", where=settings.bootstrap
                )
            fault = message.error()
            if fault is None and message.offset() == offset:
                yield record(message)
            elif fault is not None and fault.code() != KafkaError._PARTITION_EOF:
                problem = explain(fault, "reading", settings.bootstrap)
                if not problem.retryable:
                    raise problem
    finally:
        consumer.close()


def _partitions(consumer: Consumer, settings: KafkaSettings, topics: Sequence[str], timeout_s: float) -> set[Partition]:
    try:
        known = consumer.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise explain(error.args[0], "topics cannot be listed", settings.bootstrap) from error
    return {Partition(topic, number) for topic in topics if topic in known for number in known[topic].partitions}
