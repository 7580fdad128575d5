"""A Kafka broker in memory: topics, partitions, groups, committed offsets and transactions.

A rebalance follows KIP-848: the broker holds a target assignment; a member first gives up, inside its own `poll`, what
the target takes from it, and a partition is handed on only then. So no two members ever read one partition at a time.
"""

import threading
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import NamedTuple

from stream.doubles.assignment import share_out
from stream.doubles.clock import ManualClock
from stream.errors import BrokerUnavailable, OffsetsLost, VeristreamError, WorkerFenced
from stream.records import Outgoing, Partition, Record


class Membership(NamedTuple):
    """What fences a transaction: a member of a group, and how often it has joined."""

    group: str
    member: str
    epoch: int


@dataclass
class _Log:
    """One partition: its records, and the offset of the oldest one kept."""

    low: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.low + len(self.records)


@dataclass
class _Group:
    """One consumer group: who reads which topics, who shall own and who owns each partition."""

    topics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    target: dict[Partition, str] = field(default_factory=dict)
    owners: dict[Partition, str] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)


class MemoryBroker:
    """Where the memory clients meet. Thread-safe.

    Topics appear when they are first named. A key decides its partition by CRC-32, as in librdkafka; records without a
    key go round.

    Args:
        partitions: Of a topic that nobody created with `create`.
        clock: Gives records their time; the real time unless given.
    """

    def __init__(self, *, partitions: int = 4, clock: ManualClock | None = None) -> None:
        self._away = False
        self.changed = threading.Condition(threading.RLock())
        self._partitions = partitions
        self._clock = clock
        self._logs: dict[str, list[_Log]] = {}
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._fences: dict[str, int] = defaultdict(int)
        self._faults: list[tuple[VeristreamError, bool]] = []
        self._refusals: list[VeristreamError] = []
        self._keyless = 0

    # What a test arranges and looks at.

    @property
    def away(self) -> bool:
        """While true `poll` returns nothing, `commit` raises `BrokerUnavailable`, and what is sent waits."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        with self.changed:
            self._away = away
            self.changed.notify_all()

    def create(self, topic: str, partitions: int) -> None:
        """Creates a topic; one that exists stays as it is."""
        with self.changed:
            self._logs.setdefault(topic, [_Log() for _ in range(partitions)])

    def partitions(self, topic: str) -> list[Partition]:
        """The topic's partitions."""
        with self.changed:
            self.create(topic, self._partitions)
            return [Partition(topic, number) for number in range(len(self._logs[topic]))]

    def records(self, topic: str) -> list[Record]:
        """Everything in a topic, partition by partition."""
        with self.changed:
            return [record for tp in self.partitions(topic) for record in self._log(tp).records]

    def committed(self, group: str) -> dict[Partition, int]:
        """The group's committed offsets: the next to read of each partition."""
        with self.changed:
            return dict(self._groups[group].committed)

    def owners(self, group: str) -> dict[Partition, str]:
        """Which member reads each partition at this moment."""
        with self.changed:
            return dict(self._groups[group].owners)

    def fail_next_commit(self, error: VeristreamError, *, applied: bool = False) -> None:
        """Makes the next commit, with or without a transaction, raise this; calls queue up.

        Args:
            error: What to raise.
            applied: Whether the commit happens all the same, as when only the broker's answer is lost; raise
                `TransactionLost` then.
        """
        self._faults.append((error, applied))

    def refuse_next_send(self, error: VeristreamError) -> None:
        """Makes the next record outside a transaction undeliverable with this error; calls queue up."""
        self._refusals.append(error)

    def truncate(self, partition: Partition, before: int) -> None:
        """Drops records before an offset, as retention does."""
        with self.changed:
            log = self._log(partition)
            dropped = max(0, min(before, log.end) - log.low)
            del log.records[:dropped]
            log.low += dropped

    def expel(self, group: str, member: str) -> None:
        """Removes a member as a session timeout does: it loses its partitions at once and is fenced until it polls."""
        with self.changed:
            self.leave(group, member)
            self._groups[group].epochs[member] += 1

    # What the clients do.

    def append(self, records: Sequence[Outgoing]) -> None:
        """Adds records, all of them at once.

        Raises:
            BrokerUnavailable: The broker is away.
            VeristreamError: What `refuse_next_send` asked for.
        """
        with self.changed:
            self._answer()
            if self._refusals:
                raise self._refusals.pop(0)
            self._append(records)

    def enter(self, transactional_id: str) -> int:
        """Registers a committer and fences every earlier one of the same id."""
        with self.changed:
            self._fences[transactional_id] += 1
            return self._fences[transactional_id]

    def transact(
        self, records: Sequence[Outgoing], offsets: Mapping[Partition, int], group: object, fence: tuple[str, int]
    ) -> None:
        """Adds records and commits offsets, or raises and does neither.

        Raises:
            BrokerUnavailable: The broker is away.
            WorkerFenced: A later committer has the transactional id, or another member a partition.
        """
        transactional_id, epoch = fence
        with self.changed:
            self._answer()
            if self._fences[transactional_id] != epoch:
                raise WorkerFenced("another committer has this transactional id", where=transactional_id)
            self._commit(offsets, group, records)

    def commit(self, offsets: Mapping[Partition, int], group: object) -> None:
        """Commits offsets of a member, or raises and commits none."""
        with self.changed:
            self._answer()
            self._commit(offsets, group, ())

    def join(self, group: str, member: str, topics: Sequence[str]) -> int:
        """Adds a member and returns its epoch."""
        with self.changed:
            self._groups[group].topics[member] = tuple(topics)
            self._retarget(group)
            return self._groups[group].epochs[member]

    def leave(self, group: str, member: str) -> None:
        """Takes a member out; what it owned is free."""
        with self.changed:
            state = self._groups[group]
            state.topics.pop(member, None)
            state.owners = {tp: owner for tp, owner in state.owners.items() if owner != member}
            self._retarget(group)

    def targets(self, group: str, member: str, epoch: int) -> set[Partition] | None:
        """What this member shall own; None when it was expelled."""
        with self.changed:
            state = self._groups[group]
            if member not in state.topics or state.epochs[member] != epoch:
                return None
            return {tp for tp, owner in state.target.items() if owner == member}

    def take(self, group: str, member: str, wanted: set[Partition]) -> dict[Partition, int]:
        """Takes those of the wanted partitions that are free, with the offset to begin at."""
        with self.changed:
            state = self._groups[group]
            free = {tp for tp in wanted if tp not in state.owners and state.target.get(tp) == member}
            state.owners.update(dict.fromkeys(free, member))
            return self.starts(group, sorted(free))

    def starts(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Where the group reads on: the committed offset, or the oldest record's."""
        with self.changed:
            committed = self._groups[group].committed
            return {tp: committed.get(tp, self._log(tp).low) for tp in partitions}

    def give(self, group: str, member: str, partitions: Sequence[Partition]) -> None:
        """Hands partitions back."""
        with self.changed:
            owners = self._groups[group].owners
            for tp in partitions:
                if owners.get(tp) == member:
                    del owners[tp]
            self.changed.notify_all()

    def fetch(self, partition: Partition, offset: int, limit: int) -> list[Record]:
        """Records from an offset on; none while the broker is away.

        Raises:
            OffsetsLost: The offset is no longer there.
        """
        with self.changed:
            log = self._log(partition)
            if offset < log.low:
                what = f"offset {offset} is gone, the oldest is {log.low}"
                raise OffsetsLost(what, where=f"{partition.topic}[{partition.partition}]")
            return [] if self.away else log.records[offset - log.low : offset - log.low + limit]

    def end(self, partition: Partition) -> int:
        """The offset that the partition's next record will have."""
        with self.changed:
            return self._log(partition).end

    def _answer(self) -> None:
        if self.away:
            raise BrokerUnavailable("the broker is switched off", where="memory")

    def _log(self, tp: Partition) -> _Log:
        return self._logs[tp.topic][tp.partition]

    def _append(self, records: Sequence[Outgoing]) -> None:
        now_ms = int((self._clock.now() if self._clock else time()) * 1000)
        for record in records:
            places = self.partitions(record.topic)
            if record.key is None:
                self._keyless += 1
            number = (self._keyless if record.key is None else zlib.crc32(record.key)) % len(places)
            log = self._log(places[number])
            log.records.append(
                Record(record.topic, number, log.end, now_ms, record.key, record.value, tuple(record.headers))
            )
        self.changed.notify_all()

    def _commit(self, offsets: Mapping[Partition, int], group: object, records: Sequence[Outgoing]) -> None:
        fault, applied = self._faults.pop(0) if self._faults else (None, True)
        if applied:
            self._check(offsets, group)
            if isinstance(group, Membership):
                self._groups[group.group].committed.update(offsets)
            self._append(records)
        if fault is not None:
            raise fault

    def _check(self, offsets: Mapping[Partition, int], group: object) -> None:
        if not offsets:
            return
        if not isinstance(group, Membership):
            raise TypeError(f"the membership must come from MemoryConsumer.group_metadata(), not {group!r}")
        state = self._groups[group.group]
        foreign = [tp for tp in offsets if state.owners.get(tp) != group.member]
        if foreign or state.epochs[group.member] != group.epoch:
            names = ", ".join(f"{tp.topic}[{tp.partition}]" for tp in foreign)
            raise WorkerFenced(f"{group.member} no longer owns {names or 'its partitions'}", where=group.group)

    def _retarget(self, group: str) -> None:
        state = self._groups[group]
        topics = {topic for wanted in state.topics.values() for topic in wanted}
        places = [tp for topic in sorted(topics) for tp in self.partitions(topic)]
        state.target = share_out(places, state.topics, state.target)
        self.changed.notify_all()
