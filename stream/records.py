"""What goes over the wire, without a Kafka client in sight: a record read, a record to send, a partition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes]]


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Record:
    """One record as it was read.

    Attributes:
        topic: Topic it was read from.
        partition: Partition it was read from.
        offset: Its offset in that partition.
        timestamp_ms: Broker or producer time, milliseconds since the epoch; 0 when unknown.
        key: Key bytes, or None.
        value: Value bytes; None is a tombstone.
        headers: Headers in the order they were sent; a header without a value has ``b""``.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def tp(self) -> Partition:
        """The partition this record lives in."""
        return Partition(self.topic, self.partition)

    @property
    def size(self) -> int:
        """Bytes of the value, which is what back-pressure counts."""
        return len(self.value) if self.value is not None else 0

    @property
    def place(self) -> str:
        """``topic[partition]@offset``, for messages to people."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @cached_property
    def header_map(self) -> Mapping[str, bytes]:
        """Headers by name; of repeated names the last wins, as in Kafka's own ``lastHeader``."""
        return dict(self.headers)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to send.

    Attributes:
        topic: Where to.
        key: Key bytes; decides the partition.
        value: Value bytes, or None for a tombstone.
        headers: Headers in order.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
