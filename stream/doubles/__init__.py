"""In-memory doubles of every port, shipped so that users of this package can test without a broker, Redis or S3.

They keep the promises of the real parts, not only their shapes: records of one key stay in order, a partition has one
reader in a group, committed offsets survive a member, and a transaction's records and offsets appear together or not
at all. Switch ``away`` on to take a part down; see `MemoryBroker` for the other faults.
"""

from stream.doubles.broker import Membership, MemoryBroker
from stream.doubles.clients import MemoryCommitter, MemoryConsumer, MemoryProducer
from stream.doubles.clock import ManualClock
from stream.doubles.stores import MemoryBlobs, MemoryCache

__all__ = [
    "ManualClock",
    "Membership",
    "MemoryBlobs",
    "MemoryBroker",
    "MemoryCache",
    "MemoryCommitter",
    "MemoryConsumer",
    "MemoryProducer",
]
