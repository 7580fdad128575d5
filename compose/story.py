"""The story of the loop: calm traffic, a new family, alarm, labels, a job, the gate, a rollout, and what it was worth.

It is told what happened (uploads and verdicts by the session, the rest from the topics ``feedback``, ``drift``,
``retrain`` and ``models``) and works out where things stand. It reads no clock and no topic itself. What comes from
different topics may be heard in any order; the story goes by the events' own times.

Before and after, on the family that entered:

* **accuracy** is the share of its uploads that were called `ai_generated`; `uncertain` counts as wrong.
* **false-positive rate** is the share of photographs that were called `ai_generated`, over the same stretch.
* **before** is what the first champion said from the family's first upload until the promotion.
* **after** is what the promoted champion says since. What it said in the canary's arm counts as neither.
"""

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from compose import telling
from compose.course import Course
from compose.hearing import Hearing
from compose.loop_view import (
    Beat,
    DriftView,
    GateView,
    Gauge,
    LabelView,
    LoopView,
    SlotView,
    Stage,
)
from compose.telling import Told
from stream.events import DriftReport, Label, RetrainStep, Slot, SlotChange, Truth, Verdict

_HISTORY = 120
_BEATS = 2000
# Labels that may be heard before the alarm that they answer.
_RECENT = 200
_SLOTS: tuple[Slot, ...] = ("champion", "challenger", "shadow", "previous")
_STAGE_OF: Mapping[str, Stage] = {
    "requested": "job",
    "dataset_built": "job",
    "trained": "job",
    "evaluated": "gate",
    "refused": "gate",
    "registered": "gate",
    "shadow": "shadow",
    "canary": "canary",
    "promoted": "promoted",
}
_OVER = frozenset({"refused", "failed", "rolled_back", "promoted"})
# Until a job is asked for, and once it is over, an alarm is news.
_BEFORE_A_JOB = ("calm", "entered", "alarm", "labels")


class Story:
    """Follows one session's loop. Thread-safe: the session's threads tell it what they see, in any order.

    Args:
        newcomers: Families that are not there at first.
        on_beat: Told of everything that happens, in the thread that brought it.
    """

    def __init__(self, newcomers: Collection[str], on_beat: Callable[[Beat], None] | None = None) -> None:
        self._newcomers = tuple(sorted(newcomers))
        self._on_beat = on_beat or (lambda _: None)
        self._lock = threading.RLock()
        self._sent = 0
        self._first_at: datetime | None = None
        self._entered_at: datetime | None = None
        self._alarm_at: datetime | None = None
        self._promoted_at: datetime | None = None
        self._serving = False
        self._first = self._champion = ""
        self._promotions: list[tuple[datetime, str]] = []
        self._course = Course()
        self._recent: deque[Label] = deque(maxlen=_RECENT)
        self._beats: list[Beat] = []
        self._labels = LabelView()
        self._drift = DriftView()
        self._statuses: dict[tuple[str, str | None, str], str] = {}
        self._gate = self._judged = GateView()
        self._slots = {slot: SlotView(slot, None, 0.0) for slot in _SLOTS}
        self._hearing = Hearing(self._newcomers)

    def begin(self, champion: str) -> None:
        """Takes the digest of the model that speaks at first."""
        with self._lock:
            self._first = self._first or champion
            self._champion = self._champion or champion
            if self._slots["champion"].digest is None:
                self._slots["champion"] = SlotView("champion", champion, 1.0)

    def sent(self, truth: Truth) -> None:
        """Takes the truth about an upload that was handed over."""
        with self._lock:
            self._sent += 1
            self._first_at = self._first_at or truth.sent_at
            if self._entered_at is None and truth.family in self._newcomers:
                self._entered_at = truth.sent_at
                self._course.mark(truth.sent_at, "entered")
                self._tell(truth.sent_at, "entered", Told(f"family {truth.family} enters", "doubtful"))

    def judged(self, truth: Truth, verdict: Verdict) -> None:
        """Takes the first verdict of an upload."""
        with self._lock:
            if self._entered_at is None or truth.sent_at < self._entered_at:
                return
            digest, speaks = verdict.model.digest, verdict.arm == "champion"
            late = (verdict.decided_at - self._promoted_at).total_seconds() if self._promoted_at else 0.0
            if speaks and digest != self._champion and late > 0:
                return  # A worker that had not heard of the promotion yet: neither before nor after.
            self._hearing.add(truth, verdict)
            if speaks and digest == self._champion and self._promoted_at and not self._serving:
                self._serving = True
                text = f"first verdict by {telling.short(digest)}, {max(late, 0.0):.1f} s after the promotion"
                self._tell(verdict.decided_at, "serving", Told(text, "good"))

    def labelled(self, label: Label) -> None:
        """Takes a label from the feedback topic."""
        with self._lock:
            self._labels = LabelView(
                self._labels.total + 1, self._labels.ai_generated + (label.label == "ai_generated")
            )
            self._recent.append(label)
            self._answered([label])

    def drifted(self, report: DriftReport) -> None:
        """Takes an evaluation."""
        with self._lock:
            key = (report.model_digest, report.tenant, report.kind)
            before, self._statuses[key] = self._statuses.get(key, "ok"), report.status
            raised = report.status == "alarm" and before != "alarm"
            known = self._drift
            self._drift = replace(
                known,
                evaluations=known.evaluations + 1,
                alarms=known.alarms + raised,
                false_alarms=known.false_alarms + (raised and self._entered_at is None),
                alarms_on_promoted=known.alarms_on_promoted
                + (raised and self._promoted_at is not None and report.model_digest == self._champion),
            )
            if report.model_digest != self._champion_at(report.at):
                return  # A former champion's windows may be judged late, and a shadow's have no reference yet.
            if report.tenant is None and report.kind == "embeddings" and report.model_digest == self._champion:
                self._gauge(report)
            if raised and self._entered_at is not None:
                self._alarm_at = self._alarm_at or report.at
                self._course.mark(report.at, "alarm")
            if report.status != before and self._is_news(report):
                measured = {part.name: part.value for part in telling.worst(report.components) if part.alarmed}
                self._tell(report.at, report.status, telling.report(report), measured)
            if raised:
                self._answered(self._recent)

    def stepped(self, step: RetrainStep) -> None:
        """Takes a step of a retraining job."""
        with self._lock:
            if step.step == "requested":
                self._gate = GateView()
            if step.step in ("evaluated", "refused", "registered"):
                refused = {"refused": True, "registered": False}.get(step.step)
                measured = {**(self._gate.figures or {}), **step.figures}
                self._gate = GateView(
                    refused, step.reasons or ((step.reason,) if refused and step.reason else ()), measured
                )
                self._judged = self._gate if refused is not None else self._judged
            self._course.mark(step.at, _STAGE_OF.get(step.step), over=step.step in _OVER)
            self._tell(step.at, step.step, telling.step(step), step.figures, step.reasons)

    def slotted(self, change: SlotChange) -> None:
        """Takes a slot change."""
        with self._lock:
            share = change.traffic_share if change.digest else 0.0
            self._slots[change.slot] = SlotView(change.slot, change.digest, share)
            if change.slot != "champion" or not change.digest or change.digest == self._champion:
                return
            self._first = self._first or change.digest
            self._champion = change.digest
            self._promotions.append((change.at, change.digest))
            self._promoted_at = None if change.digest == self._first else change.at
            self._serving = False
            # The gauges are the former champion's; the history shows what became of them.
            self._drift = replace(self._drift, status="", gauges=())

    def view(self) -> LoopView:
        """Where things stand."""
        with self._lock:
            return LoopView(
                stage=self._course.stage,
                newcomers=self._newcomers,
                champion=self._champion,
                beats=tuple(self._beats),
                labels=self._labels,
                drift=self._drift,
                slots=tuple(self._slots.values()),
                spoken=self._hearing.spoken(),
                numbers=self._hearing.numbers(self._first, self._champion if self._promoted_at else None),
                gate=self._gate,
                judged=self._judged,
                entered_at=self._entered_at,
                alarm_at=self._alarm_at,
                promoted_at=self._promoted_at,
            )

    def _gauge(self, report: DriftReport) -> None:
        if not report.components:
            # An early warning, or a window that could not be judged: the last figures stand.
            self._drift = replace(self._drift, status=report.status)
            return
        parts = telling.worst(report.components)
        gauges = tuple(Gauge(part.name, part.value, part.threshold, part.alarmed) for part in parts)
        largest = max((gauge.ratio for gauge in gauges), default=0.0)
        history = (*self._drift.history, largest)[-_HISTORY:]
        self._drift = replace(self._drift, status=report.status, gauges=gauges, history=history)

    def _champion_at(self, moment: datetime) -> str:
        """Digest of the model that spoke then."""
        return next((digest for since, digest in reversed(self._promotions) if since <= moment), self._first)

    def _answered(self, labels: Iterable[Label]) -> None:
        """Tells the first label since an alarm, whichever of the two was heard of first."""
        for label in labels:
            if self._course.stage_at(label.at) == "alarm" and not self._course.met("labels", label.at):
                self._course.mark(label.at, "labels")
                text = f"first since the alarm, by {label.reviewer} ({label.origin})"
                self._tell(label.at, "labels", Told(text, "plain"))

    def _is_news(self, report: DriftReport) -> bool:
        """Whether a report is told: nobody needs to hear again that a model is out of date which is being replaced."""
        stage = self._course.stage_at(report.at)
        whole, over = report.tenant is None, stage == "promoted"
        if report.status == "warning":
            return whole and (over or stage in ("calm", "entered"))
        if report.status == "alarm":
            return over or stage in _BEFORE_A_JOB
        return whole and report.status == "recovered"

    def _tell(
        self,
        at: datetime,
        step: str,
        told: Told,
        figures: Mapping[str, float] | None = None,
        reasons: tuple[str, ...] = (),
    ) -> None:
        seconds = (at - self._first_at).total_seconds() if self._first_at else 0.0
        beat = Beat(at, round(seconds, 3), self._sent, step, told.text, told.mood, dict(figures or {}), reasons)
        place = bisect_right(self._beats, at, key=attrgetter("at"))
        # A status that wavers is one line, not a screenful.
        if step == "warning" and place and self._beats[place - 1].step == step:
            self._beats[place - 1] = beat
        else:
            self._beats.insert(place, beat)
        del self._beats[:-_BEATS]
        self._on_beat(beat)
