"""Joins labels with the verdicts they are about, and says when a model's verdicts have become worse.

A label may be read before its verdict, since the two topics are read side by side; it waits a while. One for an upload
that nobody remembers, or that cannot be read, is counted and dead-lettered. Of several labels for one upload the one of
the higher-ranking origin counts, among equals the latest; that they contradict each other is counted.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from drift.degradation import Labelled, Record
from drift.facts import Fact, Facts
from drift.metrics import DriftMetrics
from stream import messages
from stream.errors import ContractError, MalformedEvent, VeristreamError
from stream.events import DriftReport, Label, Verdict, Window
from stream.ports import Clock
from stream.records import Record as Read

_log = logging.getLogger("veristream.drift")

EVERY = 50
"""Labels of a model between two evaluations."""

WINDOW = 500
"""Labels that an evaluation is about at most."""

_RANKS = {"golden": 4, "appeal": 3, "moderator": 2, "simulated": 2, "user_report": 1}
_PATIENCE_S = 60.0
_MOST_WAITING = 10_000
_REMEMBERED = 200_000
_ID_CHARACTERS = 32

Rank = tuple[int, datetime]


class Labels:
    """The join and its records. For one thread.

    Args:
        facts: Recent verdicts.
        metrics: Who counts.
        clock: Time.
        reject: Given what is no label of a known upload, and why.
        cooldown_s: Least time between two alarms of one model, seconds.
        alarm_at: When an earlier life last alarmed, by model, seconds since the epoch.
    """

    def __init__(
        self,
        facts: Facts,
        metrics: DriftMetrics,
        clock: Clock,
        reject: Callable[[Read, VeristreamError], None],
        *,
        cooldown_s: float,
        alarm_at: Mapping[str, float],
    ) -> None:
        self._facts = facts
        self._metrics = metrics
        self._clock = clock
        self._reject = reject
        self._cooldown_s = cooldown_s
        self._winning: OrderedDict[str, tuple[Rank, Label]] = OrderedDict()
        self._waiting: OrderedDict[str, list[tuple[Read, Label, float]]] = OrderedDict()
        self._records: dict[tuple[str, str], Record] = {}
        self._alarm_at = dict(alarm_at)

    def take(self, read: Read) -> list[DriftReport]:
        """Takes a record of the feedback topic; returns the reports it leads to."""
        try:
            label = messages.decode(read, Label)
        except ContractError as error:
            self._reject(read, error)
            return []
        fact = self._facts.find(label.upload_id)
        if fact is not None:
            return self._join(label, fact)
        self._waiting.setdefault(label.upload_id, []).append((read, label, self._clock.monotonic() + _PATIENCE_S))
        if len(self._waiting) > _MOST_WAITING:
            self._give_up(next(iter(self._waiting)))
        return []

    def recall(self, read: Read) -> None:
        """Takes a label that an earlier life had taken: it counts, and leads to nothing."""
        try:
            label = messages.decode(read, Label)
        except ContractError:
            # The earlier life has dead-lettered it.
            return
        fact = self._facts.find(label.upload_id)
        if fact is None or label.upload_id in self._winning:
            return
        record = self._count(label, fact)
        record.since_report %= EVERY
        if record.proven:
            record.begin_again()

    def said(self, verdict: Verdict) -> list[DriftReport]:
        """A verdict has come; labels may have waited for it."""
        fact = self._facts.find(verdict.upload_id)
        waiting = self._waiting.pop(verdict.upload_id, ())
        return [report for _, label, _ in waiting if fact is not None for report in self._join(label, fact)]

    def tidy(self) -> None:
        """Gives up on labels that have waited long enough."""
        now = self._clock.monotonic()
        for upload_id in [name for name, waiting in self._waiting.items() if waiting[0][2] <= now]:
            self._give_up(upload_id)

    def _give_up(self, upload_id: str) -> None:
        for read, label, _ in self._waiting.pop(upload_id):
            what = f"a label for upload {label.upload_id}, of which no verdict is remembered"
            remedy = "VERISTREAM_DRIFT__VERDICTS says how many are; the label counts for training all the same"
            self._reject(read, MalformedEvent(what, where=read.place, remedy=remedy))

    def _join(self, label: Label, fact: Fact) -> list[DriftReport]:
        key = (fact.model_digest, fact.arm)
        rank = (_RANKS[label.origin], label.at)
        before = self._winning.get(label.upload_id)
        if before is not None:
            if before[1] == label:
                self._metrics.repeated("feedback")
                return []
            if before[1].label != label.label:
                self._metrics.contradicted()
            if rank > before[0]:
                self._winning[label.upload_id] = (rank, label)
                record = self._records.get(key)
                if record is not None:
                    record.replace(Labelled(label.upload_id, fact, label.label, label.origin, label.at))
            return []
        return self._evaluated(key, self._count(label, fact))

    def _count(self, label: Label, fact: Fact) -> Record:
        self._winning[label.upload_id] = ((_RANKS[label.origin], label.at), label)
        if len(self._winning) > _REMEMBERED:
            self._winning.popitem(last=False)
        record = self._records.setdefault((fact.model_digest, fact.arm), Record(WINDOW))
        record.add(Labelled(label.upload_id, fact, label.label, label.origin, label.at))
        return record

    def _evaluated(self, key: tuple[str, str], record: Record) -> list[DriftReport]:
        proven = record.proven
        if not proven and record.since_report < EVERY:
            return []
        record.since_report = 0
        now = self._clock.now()
        report = self._report(key, record, now)
        if not proven:
            return [self._told(report)]
        last = self._alarm_at.get(report.model_digest)
        record.begin_again()
        if last is not None and now - last < self._cooldown_s:
            reason = f"{report.reason}; the last alarm is too recent for another"
            return [self._told(report.model_copy(update={"status": "warning", "reason": reason}))]
        self._alarm_at[report.model_digest] = now
        return [self._told(report.model_copy(update={"status": "alarm"}))]

    def _told(self, report: DriftReport) -> DriftReport:
        self._metrics.reported(report)
        return report

    def _report(self, key: tuple[str, str], record: Record, now: float) -> DriftReport:
        digest, arm = key
        latest, components = record.latest, record.components()
        name = hashlib.sha256("\0".join((digest, arm, *(labelled.upload_id for labelled in latest))).encode())
        window_id = name.hexdigest()[:_ID_CHARACTERS]
        accuracy, false = components[0], components[1]
        figures = (
            f"{arm}: accuracy {accuracy.value:.3f} ({accuracy.statistic}), "
            f"false positives {false.value:.3f} ({false.statistic})"
        )
        fallen = " and ".join(
            f"{part.name} proven to be {'under' if part is accuracy else 'over'} {part.threshold:.3f}"
            for part in (accuracy, false)
            if part.alarmed
        )
        times = [labelled.at for labelled in latest]
        return DriftReport(
            report_id=hashlib.sha256(f"labels\0{window_id}".encode()).hexdigest()[:_ID_CHARACTERS],
            kind="labels",
            model_digest=digest,
            status="ok",
            reason=f"{fallen}; {figures}" if fallen else figures,
            components=components,
            window=Window(id=window_id, size=len(latest), first_at=min(times), last_at=max(times)),
            at=datetime.fromtimestamp(now, UTC),
        )
