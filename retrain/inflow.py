"""What the coordinator reads all the time: steps of jobs, drift reports, and verdicts and labels for the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from retrain.history import History
from retrain.intake import Intake
from retrain.metrics import RetrainMetrics
from retrain.triggers import Triggers
from stream import messages
from stream.errors import VeristreamError
from stream.events import DriftReport, RetrainStep
from stream.ports import Clock
from stream.records import Record
from stream.settings import Settings
from stream.tail import KafkaTail
from stream.topics import layout

_log = logging.getLogger("veristream.retrain")

# An alarm that stands is repeated by every window after it, so older reports say nothing new.
_REPORTS = timedelta(days=7)


class Inflow:
    """Keeps history, triggers and ledger up to date. For one thread.

    Records that cannot be read are counted, named in the log and passed over: they stay in their topics.

    Args:
        settings: How to reach Kafka, and how topics are named.
        intake: Takes verdicts and labels.
        history: Takes the steps.
        triggers: Takes the drift reports.
        metrics: Who counts.
        clock: Time.
        client_id: Name in the broker's logs.
    """

    def __init__(
        self,
        settings: Settings,
        intake: Intake,
        *,
        history: History,
        triggers: Triggers,
        metrics: RetrainMetrics,
        clock: Clock,
        client_id: str,
    ) -> None:
        topics = layout(settings.topics)
        since = (datetime.fromtimestamp(clock.now(), UTC) - _REPORTS).timestamp()
        self._steps = KafkaTail(settings.kafka, topics["retrain"].name, client_id=f"{client_id}-retrain")
        self._reports = KafkaTail(settings.kafka, topics["drift"].name, client_id=f"{client_id}-drift", since=since)
        self._history = history
        self._triggers = triggers
        self._intake = intake
        self._metrics = metrics

    @property
    def caught_up(self) -> bool:
        """Whether every step and report that was there at the start was seen."""
        return self._steps.caught_up and self._reports.caught_up

    def poll(self, timeout_s: float) -> None:
        """Takes in what is ready, waiting at most about ``timeout_s``.

        Raises:
            BrokerError: A failure that waiting does not mend.
        """
        for record, error in self._intake.poll(0):
            self._refuse(record, error)
        for record in self._reports.poll(0):
            self._take(record, lambda record: self._triggers.see(messages.decode(record, DriftReport)))
        for record in self._steps.poll(timeout_s):
            self._take(record, lambda record: self._history.see(messages.decode(record, RetrainStep)))

    def close(self) -> None:
        """Lets go of the connections."""
        self._steps.close()
        self._reports.close()
        self._intake.close()

    def _take(self, record: Record, take: Callable[[Record], object]) -> None:
        try:
            take(record)
        except VeristreamError as error:
            self._refuse(record, error)

    def _refuse(self, record: Record, error: VeristreamError) -> None:
        self._metrics.refused(error)
        _log.warning("%s cannot be read and is passed over: %s", record.place, error)
