"""The retraining coordinator: hears triggers, has jobs done, holds the gate, drives the rollout. One step at a time.

Its state is the `retrain` topic and the slots; everything else is a view. Each turn looks where the open job stands and
does the next thing: what was done before a death is found done, what was not is done again, and no step is taken twice.
A failure that may pass is tried again; any other ends the job with a step that says why.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from models.bundle import MAX_BYTES, Bundle
from models.registry import Registry
from models.slotbook import SlotBook
from retrain.background import Background
from retrain.champion import enthrone, reigning
from retrain.gate import GateReport
from retrain.gatekeeper import Gatekeeper
from retrain.history import History, Job
from retrain.jobs import Jobs, Outcome
from retrain.ledger import Ledger
from retrain.metrics import RetrainMetrics
from retrain.progress import Progress
from retrain.readiness import readiness
from retrain.rollout.driver import Rollout
from retrain.steps import Steps
from retrain.triggers import Triggers
from stream.errors import DeliveryFailed, JobInterrupted, SlotConflict, VeristreamError
from stream.ports import Clock
from stream.settings import Settings

_log = logging.getLogger("veristream.retrain")

_LOOK_S = 0.5
_SAY_AGAIN_S = 30.0
_MOST_INTERRUPTIONS, _PAUSE_S = 3, 10.0
_COUNT_SHARE = 20


class Inflow(Protocol):
    """What the coordinator reads; see `retrain.inflow`."""

    @property
    def caught_up(self) -> bool:
        """Whether history and triggers are up to date."""
        ...

    def poll(self, timeout_s: float) -> None:
        """Takes in what is ready."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a coordinator is made of; see `retrain.service`."""

    history: History
    triggers: Triggers
    steps: Steps
    ledger: Ledger
    jobs: Jobs
    progress: Progress
    gatekeeper: Gatekeeper
    registry: Registry
    book: SlotBook
    rollout: Rollout
    metrics: RetrainMetrics


class Coordinator:
    """Brings jobs from trigger to end. For one thread; `retrain.service` puts it together.

    Args:
        settings: All of them.
        parts: What it is made of.
        inflow: What it reads.
        clock: Time.
    """

    def __init__(self, settings: Settings, parts: Parts, inflow: Inflow, clock: Clock) -> None:
        self._settings = settings
        self._parts = parts
        self._inflow = inflow
        self._clock = clock
        self._learning: Background[Outcome] = Background("learning")
        self._judging: Background[GateReport] = Background("gate")
        self._said = ("", 0.0)
        self._interruptions: Counter[str] = Counter()
        self._quiet_until = 0.0
        self._count_at = 0.0
        self._next: dict[str, Callable[[Job, datetime], str]] = {
            "requested": self._learn,
            "dataset_built": self._learn,
            "trained": self._judge,
            "evaluated": self._register,
            "registered": parts.rollout.begin,
            "shadow": parts.rollout.follow,
            "canary": parts.rollout.follow,
        }

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        """Works until ``stop`` is set. A job that is under way is stopped, and goes on where it was next time.

        Args:
            stop: Set it to stop.
            ready: Called once, when the topics were read and triggers are heard.

        Raises:
            VeristreamError: Something that waiting does not mend, such as a wrong setting.
        """
        try:
            while not stop.is_set() and not self._inflow.caught_up:
                self._inflow.poll(_LOOK_S)
            if not stop.is_set():
                enthrone(self._parts.book, self._parts.registry, self._settings.worker.bundle)
                self._parts.metrics.ready(True)
                ready()
            while not stop.is_set():
                self._inflow.poll(_LOOK_S)
                if self._clock.monotonic() >= self._quiet_until:
                    self.turn()
        finally:
            self._parts.metrics.ready(False)
            self._parts.jobs.stop()
            self._parts.gatekeeper.stop()
            self._parts.rollout.close()
            self._learning.close()
            self._judging.close()

    def turn(self) -> None:
        """Looks where things stand and does the next thing."""
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        job = self._parts.history.open
        try:
            if job is None:
                self._hear(now)
            else:
                waits = self._next[job.last.step](job, now)
                self._say(f"job {job.id}, {job.last.step}: {waits}" if waits else "")
        except SlotConflict as error:
            # Somebody was quicker; the next turn looks at what they did.
            _log.info("the slots were changed meanwhile: %s", error)
        except JobInterrupted as error:
            self._interrupted(job, error, now)
        except VeristreamError as error:
            # A step that was not acknowledged in time may be at the next look.
            if error.retryable or isinstance(error, DeliveryFailed):
                self._parts.metrics.failed(error)
                self._say(f"will try again: {error}")
            elif job is None:
                raise
            else:
                self._fail(job, error, now)

    def _hear(self, now: datetime) -> None:
        """Starts a job if one is due: what is asked is written down first, then the first step is taken."""
        parts = self._parts
        champion = reigning(parts.book)
        if champion is None:
            return
        fresh = 0
        if self._settings.retrain.quota:
            since = parts.triggers.quota_since(champion, parts.history)
            fresh = parts.ledger.counts(since=since.timestamp()).uploads
        request = parts.triggers.due(champion, parts.history, now, fresh_labels=fresh)
        if request is None:
            return
        parts.jobs.open_job(request)
        parts.steps.take(
            request.job_id, "requested", now, kind=request.kind, trigger=request.trigger, reason=request.trigger,
            parent=request.model_digest,
        )  # fmt: skip

    def _learn(self, job: Job, now: datetime) -> str:
        """Waits for labels, then has the challenger made."""
        parts = self._parts
        request = parts.progress.request(job.id)
        if not parts.progress.begun(job.id):
            started = self._clock.monotonic()
            if started < self._count_at:
                return self._said[0].partition(": ")[2]
            found = readiness(request, parts.ledger, self._settings.retrain, now)
            # Counting reads every label of the period: it may take a twentieth of the time.
            self._count_at = started + _COUNT_SHARE * (self._clock.monotonic() - started)
            parts.metrics.waiting(None if found.ready else found.figures)
            if found.overdue:
                parts.steps.take(job.id, "failed", now, reason=found.reason, figures=found.figures)
                return ""
            if not found.ready:
                return f"waits for labels: {found.reason}"
            _log.info("job %s: %s", job.id, found.reason)
        done = self._learning.ask(job.id, lambda: parts.jobs.run(job.id))
        if "dataset_built" not in job.steps and (dataset := parts.progress.dataset(job.id)) is not None:
            parts.steps.take(
                job.id, "dataset_built", now, reason=dataset.reason, figures=dataset.figures, uri=dataset.uri
            )
        if not done:
            return "learning"
        outcome = self._learning.fetch()
        parts.steps.take(
            job.id, "trained", now, model_digest=outcome.digest, uri=outcome.uri, figures=outcome.figures,
            reason="; ".join(outcome.warnings),
        )  # fmt: skip
        return ""

    def _judge(self, job: Job, now: datetime) -> str:
        """Has the challenger judged; refuses it in words, or lets it go on."""
        parts = self._parts
        outcome = parts.progress.outcome(job.id)
        request = parts.progress.request(job.id)

        def judge() -> GateReport:
            champion = parts.registry.open(request.model_digest)
            challenger = self._challenger(outcome)
            return parts.gatekeeper.judge(champion, challenger, outcome.slice_uri, outcome.lesson_uri)

        if not self._judging.ask(job.id, judge):
            return "at the gate"
        report = self._judging.fetch()
        if report.passed:
            parts.steps.take(job.id, "evaluated", now, figures=report.figures, reason="the gate let it pass")
        else:
            parts.steps.take(
                job.id, "refused", now, figures=report.figures, reasons=report.reasons, reason=report.reasons[0]
            )
        return ""

    def _register(self, job: Job, now: datetime) -> str:
        outcome = self._parts.progress.outcome(job.id)
        uri = self._parts.registry.register(self._challenger(outcome))
        self._parts.steps.take(job.id, "registered", now, uri=uri, reason=f"bundle {outcome.digest[:12]}")
        return ""

    def _challenger(self, outcome: Outcome) -> Bundle:
        data = self._parts.registry.store.read(outcome.uri, limit=MAX_BYTES)
        return Bundle.unpack(data, digest=outcome.digest, where=outcome.uri)

    def _interrupted(self, job: Job | None, error: VeristreamError, now: datetime) -> None:
        """A job's process died: tried again after a while, since what killed it may pass, and not for ever."""
        if job is None:
            raise error
        self._interruptions[job.id] += 1
        self._parts.metrics.failed(error)
        if self._interruptions[job.id] >= _MOST_INTERRUPTIONS:
            self._fail(job, error, now)
        else:
            self._quiet_until = self._clock.monotonic() + _PAUSE_S
            _log.warning("job %s: %s", job.id, error)

    def _fail(self, job: Job | None, error: VeristreamError, now: datetime) -> None:
        if job is not None:
            self._parts.steps.take(job.id, "failed", now, reason=str(error))
            self._parts.rollout.close()

    def _say(self, what: str) -> None:
        """Logs why it waits: when that changes, and now and then."""
        said, at = self._said
        now = self._clock.monotonic()
        if what and (what.partition(":")[0] != said.partition(":")[0] or now - at >= _SAY_AGAIN_S):
            self._said = (what, now)
            _log.info("%s", what)
