"""What the drift service writes: reports, dead letters, and bookmarks after them."""

import logging
import threading
from collections.abc import Mapping, Sequence

from drift.metrics import DriftMetrics
from stream import deadletter, messages
from stream.bookmarks import Bookmark, Bookmarks
from stream.errors import BrokerError, DeadLetterLost, VeristreamError
from stream.events import DriftReport
from stream.ports import Producer
from stream.records import Partition, Record
from stream.settings import TopicSettings
from stream.topics import dead_letters, layout

_log = logging.getLogger("veristream.drift")

_SOURCE = "veristream/drift"
_STAGE = "drift"
_LOOK_S = 0.5


class Publisher:
    """Sends and makes sure.

    Args:
        producer: Who sends.
        bookmarks: Where positions are kept.
        topics: How topics are named.
        metrics: Who counts.
        stopping: Set when the service ends; what was not acknowledged by then is done again by the next life.
    """

    def __init__(
        self,
        producer: Producer,
        bookmarks: Bookmarks,
        topics: TopicSettings,
        metrics: DriftMetrics,
        stopping: threading.Event,
    ) -> None:
        self._producer = producer
        self._bookmarks = bookmarks
        self._topic = layout(topics)["drift"].name
        self._metrics = metrics
        self._stopping = stopping
        self._lost: VeristreamError | None = None
        self._kept: Mapping[Partition, Bookmark] = {}

    def publish(self, reports: Sequence[DriftReport]) -> None:
        """Sends reports and waits until they are in the topic; sends nothing once the service ends.

        Raises:
            DeliveryFailed: A report was refused.
        """
        if self._stopping.is_set():
            return
        for report in reports:
            encoded = messages.encode(report, topic=self._topic, key=report.report_id, source=_SOURCE, time=report.at)
            self._producer.send(encoded, self._noted)
        self._settle()

    def reject(self, record: Record, error: VeristreamError) -> None:
        """Sends a dead letter and counts it; that it arrived is made sure of before the next bookmark."""
        self._metrics.rejected(record.topic, error)
        letter = deadletter.letter(
            record, error, stage=_STAGE, attempts=1, model_digest=None, topic=dead_letters(record.topic)
        )
        try:
            self._producer.send(letter, self._noted)
        except BrokerError as refused:
            raise DeadLetterLost(refused.what, where=letter.topic, remedy=refused.remedy) from refused

    def bookmark(self, marks: Mapping[Partition, Bookmark]) -> None:
        """Keeps bookmarks once everything sent before has arrived; a broker that is away is asked again next time.

        Raises:
            DeliveryFailed: A report or letter was refused.
        """
        changed = {tp: mark for tp, mark in marks.items() if self._kept.get(tp) != mark}
        if not changed or self._stopping.is_set():
            return
        self._settle()
        try:
            self._bookmarks.keep(changed)
        except BrokerError as error:
            if not error.retryable:
                raise
            self._metrics.failed(error)
            _log.warning("bookmarks are kept later: %s", error)
            return
        self._kept = {**self._kept, **changed}

    def _settle(self) -> None:
        while self._producer.flush(_LOOK_S) and not self._stopping.is_set():
            _log.debug("waiting for Kafka to take what was sent")
        if self._lost is not None:
            raise self._lost

    def _noted(self, error: VeristreamError | None) -> None:
        if error is not None:
            self._lost = self._lost or error
