"""The ports: what the code above needs of Kafka, blobs, Redis and time, and nothing else of them.

Each has one real implementation (`stream.kafka`, `stream.blobs`, `stream.state`) and one in memory
(`stream.doubles`) that users of this package may test with.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stream.errors import VeristreamError
from stream.records import Outgoing, Partition, Record

Assigned = Callable[[Sequence[Partition]], None]
Delivered = Callable[[VeristreamError | None], None]


class Consumer(Protocol):
    """A member of a consumer group. For one thread, except `commit` and `group_metadata`, which are for any."""

    def subscribe(self, topics: Sequence[str], *, on_assign: Assigned, on_revoke: Assigned) -> None:
        """Joins the group. The callbacks run inside `poll`; ``on_revoke`` also when partitions were lost."""
        ...

    def poll(self, limit: int, timeout_s: float) -> list[Record]:
        """Returns up to ``limit`` records that are ready, waiting at most ``timeout_s`` for the first.

        Raises:
            OffsetsLost: The committed offset is no longer in the topic.
            BrokerError: A failure that waiting does not mend.
        """
        ...

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stops fetching these partitions; `poll` goes on and keeps the membership alive."""
        ...

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Fetches these partitions again."""
        ...

    def lag(self, partitions: Sequence[Partition]) -> int:
        """Records between the position and the end of these partitions, as last heard from the broker."""
        ...

    def rewind(self) -> None:
        """Goes back to the group's committed offsets on every assigned partition."""
        ...

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commits the next offset to read of each partition; in another thread, before `poll`'s next call."""
        ...

    def group_metadata(self) -> object:
        """The membership that fences a transaction; opaque."""
        ...

    def close(self) -> None:
        """Leaves the group."""
        ...


class Producer(Protocol):
    """Sends records; thread-safe."""

    def send(self, record: Outgoing, on_delivery: Delivered | None = None) -> None:
        """Queues a record; blocks while the queue is full. ``on_delivery`` gets None or the error."""
        ...

    def flush(self, timeout_s: float) -> int:
        """Waits for what is queued; returns how many records are still unacknowledged."""
        ...

    def close(self) -> None:
        """Flushes and lets go of the connection."""
        ...


class Committer(Protocol):
    """Publishes answers together with the offsets they answer. For one thread."""

    def recover(self) -> None:
        """Settles what an earlier life left open; afterwards the group's committed offsets are final.

        Waits while the broker is away. Call it before the first `commit` and after `TransactionLost`.

        Raises:
            WorkerFenced: Another worker keeps taking the transactional id; stop.
            BrokerUnavailable: Closed while waiting.
        """
        ...

    def commit(self, records: Sequence[Outgoing], offsets: Mapping[Partition, int], group: object) -> None:
        """Sends records and commits consumed offsets.

        Exactly-once committers do both as one Kafka transaction: all of it happens, or nothing. At-least-once ones
        send first, so a failure in between repeats the records.

        Raises:
            BrokerUnavailable: The offsets were not committed; the same call may be made again.
            TransactionLost: The outcome is unknown; `recover`, then read on from the committed offsets.
        """
        ...

    def close(self) -> None:
        """Lets go of the connection and ends any wait; from any thread. An open transaction is aborted."""
        ...


class BlobStore(Protocol):
    """Bytes by URI."""

    def read(self, uri: str, *, limit: int) -> bytes:
        """Returns the object's bytes.

        Raises:
            BlobNotFound, BlobForbidden, BlobUnavailable: As named.
            ImageTooLarge: More than ``limit`` bytes.
        """
        ...

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        """Stores bytes under a relative name and returns their URI."""
        ...


@dataclass(frozen=True, slots=True)
class Revised:
    """An object's bytes and what the store calls this state of it; opaque, and equal for equal states only."""

    data: bytes
    revision: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as a store lists it: relative name, size in bytes, and when it was written, seconds since the epoch."""

    name: str
    size: int
    modified: float


class VersionedStore(BlobStore, Protocol):
    """A blob store that can be listed, and in which an object can be replaced if nobody else replaced it meanwhile."""

    def stored(self, folder: str) -> Iterator[Stored]:
        """Lists everything below a relative name, in no particular order.

        What is written or removed meanwhile may be listed or not. Raises what `read` raises.
        """
        ...

    def remove(self, name: str) -> None:
        """Removes what lies under a relative name, if there is anything; raises what `write` raises."""
        ...

    def uri(self, name: str) -> str:
        """Where something of this relative name lies, or would lie."""
        ...

    def revised(self, uri: str, *, limit: int) -> Revised:
        """Returns the object's bytes with their revision; raises what `read` raises."""
        ...

    def replace(self, name: str, data: bytes, *, media_type: str, revision: str | None) -> str:
        """Stores bytes under a relative name if its object still has this revision; None: if there is none yet.

        Returns the new revision. When the answer is lost on its way, a retry may find the change that it made itself.

        Raises:
            BlobChanged: There is another revision, or none; nothing was written.
        """
        ...


class VerdictCache(Protocol):
    """Answers for pictures seen before, by image digest and model digest. Losing it costs speed only."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Looks keys up; every answer is None while the cache is away."""
        ...

    def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Stores entries with the configured time to live; does nothing while the cache is away."""
        ...


class Clock(Protocol):
    """Time that tests can own."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...
