"""Flow control: which partitions are fetched, decided from what is in flight and from the first topic's lag.

Polling never stops, because a consumer that does not poll is thrown out of its group. Back-pressure pauses partitions
instead: all of them when too much is in flight (until half of it is done), and the backfill's while uploads wait.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stream.ports import Consumer
from stream.records import Partition


@dataclass
class FlowControl:
    """Pauses and resumes the partitions of one consumer. For the polling thread.

    Args:
        consumer: Whose partitions.
        max_records: Records in flight at which fetching pauses.
        max_bytes: Bytes in flight at which fetching pauses.
        backfill: Topics that are read only while the other topics have no lag.
    """

    consumer: Consumer
    max_records: int
    max_bytes: int
    backfill: frozenset[str] = frozenset()
    _assigned: set[Partition] = field(default_factory=set, init=False)
    _paused: set[Partition] = field(default_factory=set, init=False)
    _full: bool = field(default=False, init=False)

    @property
    def paused(self) -> bool:
        """Whether back-pressure holds everything back."""
        return self._full

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are ours."""
        return frozenset(self._assigned)

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Takes partitions in; they are fetched until `balance` says otherwise."""
        self._assigned |= set(partitions)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Lets partitions go."""
        self._assigned -= set(partitions)
        self._paused &= self._assigned

    def room(self, records: int, limit: int) -> int:
        """How many records may be asked for, at most ``limit``; at least 1, so that polling goes on."""
        return max(1, min(limit, self.max_records - records))

    def lag(self) -> int:
        """Records that wait in the topics that are not backfill, as last heard from the broker."""
        return self.consumer.lag([tp for tp in self._assigned if tp.topic not in self.backfill])

    def hold(self) -> None:
        """Pauses everything, for good."""
        self.consumer.pause(sorted(self._assigned))

    def balance(self, records: int, size: int, lag: int) -> None:
        """Pauses and resumes as ``records`` and ``size`` bytes in flight, and the first topics' lag, demand."""
        if self._full:
            self._full = records > self.max_records // 2 or size > self.max_bytes // 2
        else:
            self._full = records >= self.max_records or size >= self.max_bytes
        held = self._assigned if self._full else {tp for tp in self._assigned if lag and tp.topic in self.backfill}
        if pause := held - self._paused:
            self.consumer.pause(sorted(pause))
        if resume := self._paused - held:
            self.consumer.resume(sorted(resume))
        self._paused = set(held)
