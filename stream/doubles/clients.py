"""Kafka clients of a `MemoryBroker`."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from stream.doubles.broker import Membership, MemoryBroker
from stream.errors import BrokerUnavailable, TransactionLost, VeristreamError, WorkerFenced
from stream.ports import Assigned, Delivered
from stream.records import Outgoing, Partition, Record

_numbers = itertools.count(1)


def _ignore(_: Sequence[Partition]) -> None:
    """The callbacks of a consumer that has not subscribed yet."""


class MemoryConsumer:
    """A `stream.ports.Consumer` of a `MemoryBroker`. For one thread.

    Reads from the group's committed offsets, or from the beginning where there are none.

    Args:
        broker: Where the records are.
        group: The group to join.
        member: Unique in the group; made up unless given.
    """

    def __init__(self, broker: MemoryBroker, group: str, member: str = "") -> None:
        self.member = member or f"member-{next(_numbers)}"
        self._broker = broker
        self._group = group
        self._epoch = 0
        self._topics: tuple[str, ...] = ()
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._on_assign: Assigned = _ignore
        self._on_revoke: Assigned = _ignore

    @property
    def assignment(self) -> list[Partition]:
        """The partitions this member reads now."""
        return sorted(self._positions)

    def subscribe(self, topics: Sequence[str], *, on_assign: Assigned, on_revoke: Assigned) -> None:
        """Joins the group. The callbacks run inside `poll`; ``on_revoke`` also when partitions were lost."""
        self._topics, self._on_assign, self._on_revoke = tuple(topics), on_assign, on_revoke
        self._epoch = self._broker.join(self._group, self.member, self._topics)

    def poll(self, limit: int, timeout_s: float) -> list[Record]:
        """Returns up to ``limit`` records that are ready, waiting at most ``timeout_s`` for the first.

        Raises:
            OffsetsLost: The committed offset is no longer in the topic.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if not self._broker.away:
                self._rebalance()
            with self._broker.changed:
                found = self._fetch(limit)
                remaining = deadline - time.monotonic()
                if found or remaining <= 0:
                    return found
                self._broker.changed.wait(remaining)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stops fetching these partitions; `poll` goes on and keeps the membership alive."""
        self._paused.update(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Fetches these partitions again."""
        self._paused.difference_update(partitions)

    def lag(self, partitions: Sequence[Partition]) -> int:
        """Records between the position and the end of these partitions."""
        return sum(self._broker.end(tp) - self._positions[tp] for tp in partitions if tp in self._positions)

    def rewind(self) -> None:
        """Goes back to the group's committed offsets on every assigned partition."""
        self._positions = self._broker.starts(self._group, self.assignment)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commits the next offset to read of each partition.

        Raises:
            BrokerUnavailable: The broker is away.
            WorkerFenced: A partition belongs to another member by now.
        """
        self._broker.commit(offsets, self.group_metadata())

    def group_metadata(self) -> Membership:
        """The membership that fences a transaction."""
        return Membership(self._group, self.member, self._epoch)

    def close(self) -> None:
        """Gives the partitions up, with ``on_revoke``, and leaves the group."""
        self._drop(self.assignment)
        self._broker.leave(self._group, self.member)

    def _rebalance(self) -> None:
        if not self._topics:
            return
        target = self._broker.targets(self._group, self.member, self._epoch)
        if target is None:
            self._drop(self.assignment)
            self._epoch = self._broker.join(self._group, self.member, self._topics)
            target = self._broker.targets(self._group, self.member, self._epoch) or set()
        self._drop([tp for tp in self.assignment if tp not in target])
        taken = self._broker.take(self._group, self.member, target - set(self._positions))
        if taken:
            self._positions.update(taken)
            self._on_assign(sorted(taken))

    def _drop(self, partitions: Sequence[Partition]) -> None:
        if not partitions:
            return
        self._on_revoke(partitions)
        for tp in partitions:
            del self._positions[tp]
            self._paused.discard(tp)
        self._broker.give(self._group, self.member, partitions)

    def _fetch(self, limit: int) -> list[Record]:
        found: list[Record] = []
        for tp in sorted(self._positions):
            if tp in self._paused or len(found) >= limit:
                continue
            records = self._broker.fetch(tp, self._positions[tp], limit - len(found))
            self._positions[tp] += len(records)
            found.extend(records)
        return found


class MemoryProducer:
    """A `stream.ports.Producer` of a `MemoryBroker`.

    A record is there when `send` returns, and ``on_delivery`` has run; while the broker is away both wait for the next
    `send` or `flush` after its return.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._waiting: deque[tuple[Outgoing, Delivered | None]] = deque()
        self._lock = threading.RLock()

    def send(self, record: Outgoing, on_delivery: Delivered | None = None) -> None:
        """Sends a record. ``on_delivery`` gets None or the error."""
        with self._lock:
            self._waiting.append((record, on_delivery))
            self.flush(0.0)

    def flush(self, timeout_s: float) -> int:
        """Delivers what waits; returns how many records are still unacknowledged."""
        with self._lock:
            while self._waiting:
                record, on_delivery = self._waiting.popleft()
                outcome: VeristreamError | None = None
                try:
                    self._broker.append([record])
                except BrokerUnavailable:
                    self._waiting.appendleft((record, on_delivery))
                    break
                except VeristreamError as error:
                    outcome = error
                if on_delivery is not None:
                    on_delivery(outcome)
            return len(self._waiting)

    def close(self) -> None:
        """Flushes."""
        self.flush(0.0)


class MemoryCommitter:
    """An exactly-once `stream.ports.Committer` of a `MemoryBroker`.

    Args:
        broker: Where the records are.
        transactional_id: Whoever recovers last under an id has it; earlier committers are fenced.
    """

    def __init__(self, broker: MemoryBroker, transactional_id: str) -> None:
        self._broker = broker
        self._id = transactional_id
        self._epoch = 0
        self._closed = False

    def recover(self) -> None:
        """Takes the transactional id over; waits while the broker is away.

        Raises:
            BrokerUnavailable: Closed while waiting.
        """
        with self._broker.changed:
            self._broker.changed.wait_for(lambda: self._closed or not self._broker.away)
            if self._closed:
                raise BrokerUnavailable("closed while waiting for the broker", where="memory")
            self._epoch = self._broker.enter(self._id)

    def commit(self, records: Sequence[Outgoing], offsets: Mapping[Partition, int], group: object) -> None:
        """Sends records and commits consumed offsets: all of it happens, or nothing.

        Raises:
            BrokerUnavailable: The offsets were not committed; the same call may be made again.
            TransactionLost: Not recovered yet, or fenced; `recover`, then read on from the committed offsets.
        """
        try:
            self._broker.transact(records, offsets, group, (self._id, self._epoch))
        except WorkerFenced as error:
            raise TransactionLost(f"not committed: {error.what}", where=error.where) from error

    def close(self) -> None:
        """Ends any wait."""
        with self._broker.changed:
            self._closed = True
            self._broker.changed.notify_all()
