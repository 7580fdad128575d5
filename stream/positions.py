"""Reading single records again, wherever they lie."""

from collections import deque
from collections.abc import Iterable, Iterator

from stream.onlooker import ANSWER_S, Onlooker
from stream.records import Partition, Record
from stream.settings import KafkaSettings

Place = tuple[Partition, int]
"""A partition and an offset in it."""

_JUMP = 200


def records_at(
    settings: KafkaSettings, wanted: Iterable[Place], *, timeout_s: float = ANSWER_S
) -> Iterator[tuple[Place, Record | None]]:
    """Yields every place once with its record, or with None where there is none, or none any more.

    A record may be gone by retention or compaction; an offset may never have held one that was committed; topic and
    partition may not exist. Every partition is read from the first offset that is wanted: short gaps are read over,
    long ones are jumped.

    Args:
        settings: How to reach Kafka.
        wanted: The places; they come back in no particular order.
        timeout_s: Longest silence of the broker, seconds.

    Raises:
        BrokerUnavailable: The broker is silent for that long.
        BrokerError: It refuses.
    """
    places: dict[Partition, set[int]] = {}
    for tp, offset in wanted:
        places.setdefault(tp, set()).add(offset)
    if not places:
        return
    with Onlooker(settings, timeout_s=timeout_s) as onlooker:
        known = onlooker.partitions({tp.topic for tp in places})
        left: dict[Partition, deque[int]] = {}
        for tp, offsets in places.items():
            there = onlooker.offsets(tp) if tp in known else range(0)
            for offset in offsets:
                if offset not in there:
                    yield (tp, offset), None
            if within := [offset for offset in sorted(offsets) if offset in there]:
                left[tp] = deque(within)
        onlooker.start({tp: offsets[0] for tp, offsets in left.items()})
        while left:
            tp, found = onlooker.hear(left)
            if tp not in left:
                continue
            ahead = left[tp]
            # At the end of a partition nothing of it is still to come.
            while ahead and (found is None or ahead[0] <= found.offset):
                offset = ahead.popleft()
                yield (tp, offset), found if found is not None and offset == found.offset else None
            if not ahead:
                del left[tp]
                onlooker.leave(tp)
            elif found is not None and ahead[0] - found.offset > _JUMP:
                onlooker.jump(tp, ahead[0])
