"""The ledger of records in flight: what has arrived, what is answered, and how far each partition may be committed.

Answers come in any order; offsets can only be committed in order. So a partition's records are released as a prefix:
every record up to the first unanswered one. What is released stays in the ledger until its transaction is confirmed,
so an aborted transaction is simply taken again.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.records import Outgoing, Partition, Record


@dataclass(frozen=True, slots=True)
class Release:
    """What one transaction may hold.

    Attributes:
        outputs: Records to send, in partition order.
        offsets: Next offset to read, by partition.
        records: How many consumed records it answers.
    """

    outputs: Sequence[Outgoing]
    offsets: Mapping[Partition, int]
    records: int


@dataclass(slots=True)
class _Entry:
    offset: int
    size: int
    outputs: Sequence[Outgoing] | None = None


@dataclass(slots=True)
class _Lane:
    entries: deque[_Entry] = field(default_factory=deque)
    waiting: dict[int, _Entry] = field(default_factory=dict)


class Ledger:
    """Records in flight, by partition. Thread-safe."""

    def __init__(self) -> None:
        self._lanes: dict[Partition, _Lane] = {}
        self._changed = threading.Condition()
        self._records = 0
        self._bytes = 0
        self._answers = 0
        self._seen = 0

    @property
    def records(self) -> int:
        """Records that arrived and are not yet committed."""
        return self._records

    @property
    def bytes(self) -> int:
        """Their values' bytes."""
        return self._bytes

    def add(self, records: Iterable[Record]) -> None:
        """Enters records in the order in which they were read."""
        with self._changed:
            for record in records:
                lane = self._lanes.setdefault(record.tp, _Lane())
                entry = _Entry(record.offset, record.size)
                lane.entries.append(entry)
                lane.waiting[record.offset] = entry
                self._records += 1
                self._bytes += record.size

    def complete(self, record: Record, outputs: Sequence[Outgoing]) -> bool:
        """Answers a record.

        Returns:
            False when the record is no longer ours (its partition was revoked): the answer is dropped, because the
            partition's next owner will give its own.
        """
        with self._changed:
            lane = self._lanes.get(record.tp)
            entry = lane.waiting.pop(record.offset, None) if lane else None
            if entry is None:
                return False
            entry.outputs = outputs
            self._answers += 1
            self._changed.notify_all()
            return True

    def wait(self, timeout_s: float) -> bool:
        """Waits for an answer that came after the last `wait`; returns whether one did. For one thread."""
        with self._changed:
            news = self._changed.wait_for(lambda: self._answers != self._seen, timeout_s)
            self._seen = self._answers
            return news

    def release(self, limit: int) -> Release:
        """Returns what may be committed now, at most ``limit`` records; it stays in the ledger until `confirm`."""
        outputs: list[Outgoing] = []
        offsets: dict[Partition, int] = {}
        records = 0
        with self._changed:
            for tp, lane in self._lanes.items():
                for entry in lane.entries:
                    if entry.outputs is None or records == limit:
                        break
                    outputs.extend(entry.outputs)
                    offsets[tp] = entry.offset + 1
                    records += 1
        return Release(outputs, offsets, records)

    def confirm(self, release: Release) -> None:
        """Forgets what was committed."""
        with self._changed:
            for tp, next_offset in release.offsets.items():
                entries = self._lanes.get(tp, _Lane()).entries
                while entries and entries[0].offset < next_offset:
                    self._leave(entries.popleft())
            self._changed.notify_all()

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forgets partitions that are no longer ours, answered or not."""
        with self._changed:
            for tp in partitions:
                for entry in self._lanes.pop(tp, _Lane()).entries:
                    self._leave(entry)
            self._changed.notify_all()

    def wait_empty(self, timeout_s: float) -> bool:
        """Waits until nothing is in flight; returns whether nothing is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._records == 0, timeout_s)

    def _leave(self, entry: _Entry) -> None:
        self._records -= 1
        self._bytes -= entry.size
