"""Follows the topics that the loop is written to and tells the story, in a thread of its own."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from compose.reading import ReadingThread
from compose.story import Story
from stream import messages
from stream.errors import ContractError
from stream.events import DriftReport, Event, Label, RetrainStep, SlotChange
from stream.records import Record
from stream.settings import Settings
from stream.tail import KafkaTail
from stream.topics import Plain, layout

_POLL_S = 0.05
_log = logging.getLogger(__name__)


class _Followed(NamedTuple):
    topic: Plain
    kind: type[Event]
    tell: Callable[[Any], None]


class LoopFollower(ReadingThread):
    """Reads ``drift``, ``retrain``, ``models`` and ``feedback`` from their beginning and commits nothing.

    A record that is no such event is counted, said in the log, and passed over: it belongs to whoever wrote it.

    Args:
        settings: Where Kafka is and how topics are named.
        story: Who is told.
    """

    def __init__(self, settings: Settings, story: Story) -> None:
        super().__init__("loop-follower")
        self._settings = settings
        self._followed = (
            _Followed("models", SlotChange, story.slotted),
            _Followed("drift", DriftReport, story.drifted),
            _Followed("retrain", RetrainStep, story.stepped),
            _Followed("feedback", Label, story.labelled),
        )
        self.unreadable = 0

    def _read(self) -> None:
        topics = layout(self._settings.topics)
        tails = [
            (KafkaTail(self._settings.kafka, topics[followed.topic].name, client_id="session"), followed)
            for followed in self._followed
        ]
        try:
            while not self._stop.is_set():
                for tail, followed in tails:
                    for record in tail.poll(_POLL_S):
                        self._tell(record, followed)
        finally:
            for tail, _ in tails:
                tail.close()

    def _tell(self, record: Record, followed: _Followed) -> None:
        try:
            event = messages.decode(record, followed.kind)
        except ContractError as error:
            self.unreadable += 1
            _log.warning("passed over: %s", error)
        else:
            followed.tell(event)
