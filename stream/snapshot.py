"""Reading a topic from a point to its present end, without joining a group and without leaving a trace."""

from collections.abc import Iterator, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING

from stream.onlooker import ANSWER_S, Onlooker
from stream.records import Partition, Record
from stream.settings import KafkaSettings


def read_all(
    settings: KafkaSettings,
    topics: Sequence[str],
    *,
    after: Mapping[Partition, int] | None = None,
    timeout_s: float = ANSWER_S,
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
    starts = after or {}
    with Onlooker(settings, timeout_s=timeout_s) as onlooker:
        known = onlooker.partitions(topics)
        yield from _to_the_end(onlooker, {tp: starts.get(tp, OFFSET_BEGINNING) for tp in known})


def newest(settings: KafkaSettings, topic: str, count: int, *, timeout_s: float = ANSWER_S) -> Iterator[Record]:
    """Yields about the last ``count`` records of every partition of a topic; see `read_all`.

    Offsets that hold no record (markers of transactions, compacted ones) count as records.

    Raises:
        BrokerUnavailable: The broker is silent for that long.
        BrokerError: It refuses.
    """
    with Onlooker(settings, timeout_s=timeout_s) as onlooker:
        known = {tp: onlooker.offsets(tp) for tp in onlooker.partitions([topic])}
        yield from _to_the_end(onlooker, {tp: max(there.start, there.stop - count) for tp, there in known.items()})


def _to_the_end(onlooker: Onlooker, starts: Mapping[Partition, int]) -> Iterator[Record]:
    unread = set(starts)
    onlooker.start(starts)
    while unread:
        tp, found = onlooker.hear(unread)
        if found is None:
            unread.discard(tp)
        else:
            yield found
