"""Follows a session's verdicts and dead letters in a thread of its own, as a read-committed subscriber would."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

from compose.reading import ReadingThread
from stream import messages
from stream.consumer import KafkaConsumer
from stream.errors import BrokerUnavailable
from stream.events import ImageClaim, Verdict
from stream.records import Partition, Record
from stream.settings import Settings
from stream.topics import layout
from stream.uploads import CLAIM_MEDIA_TYPE

_AT_ONCE = 500
_POLL_S = 0.1
_JOIN_S = 30.0


class Listener(Protocol):
    """Who is told."""

    def judged(self, verdict: Verdict, seen_at: datetime) -> None:
        """A verdict arrived."""
        ...

    def died(self, upload_id: str) -> None:
        """An upload was dead-lettered."""
        ...


class OutcomeReader(ReadingThread):
    """Reads everything on the verdict and dead-letter topics from their beginning and commits nothing.

    One member in a group of its own: what it reads twice was written twice.

    Args:
        settings: Where Kafka is and how topics are named.
        listener: Asked at every record, so that a session may swap one run's meter for the next one's.
        on_settled: Called with the SHA-256 of a picture that needs no more work.
    """

    def __init__(self, settings: Settings, listener: Callable[[], Listener], on_settled: Callable[[str], None]) -> None:
        super().__init__("outcome-reader")
        self._settings = settings
        topics = layout(settings.topics)
        self._verdicts, self._letters = topics["verdicts"].name, topics["uploads.dlq"].name
        self._listener = listener
        self._on_settled = on_settled
        self._joined = threading.Event()

    def start(self) -> None:
        """Joins the group; returns once it has its partitions.

        Raises:
            BrokerUnavailable: No partitions within half a minute.
        """
        super().start()
        if not self._joined.wait(_JOIN_S):
            self.check()
            where = self._settings.kafka.bootstrap
            raise BrokerUnavailable(f"no partitions to read within {_JOIN_S:g} s", where=where)

    def _read(self) -> None:
        consumer = KafkaConsumer(
            self._settings.kafka, group=f"veristream-session-{uuid4().hex[:12]}", client_id="session"
        )
        try:
            consumer.subscribe([self._verdicts, self._letters], on_assign=self._assigned, on_revoke=self._revoked)
            while not self._stop.is_set():
                records = consumer.poll(_AT_ONCE, _POLL_S)
                seen_at = datetime.now(UTC)
                for record in records:
                    self._tell(record, seen_at)
        finally:
            consumer.close()

    def _tell(self, record: Record, seen_at: datetime) -> None:
        if record.topic == self._verdicts:
            verdict = messages.decode(record, Verdict)
            self._listener().judged(verdict, seen_at)
            self._on_settled(verdict.image.sha256)
        else:
            self._listener().died((record.key or b"").decode(errors="replace"))
            if record.header_map.get("content-type") == CLAIM_MEDIA_TYPE.encode():
                self._on_settled(ImageClaim.from_json(record.value, where=record.place).sha256)

    def _assigned(self, partitions: Sequence[Partition]) -> None:
        if partitions:
            self._joined.set()

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        del partitions  # It reads on where it was once they come back; nothing is in hand between two polls.
