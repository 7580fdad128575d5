"""A coordinator on doubles: a store and a broker in memory, jobs that make a given bundle, a gate that says what it is
told, traffic of stated worth. It can be made to die at any write, and a new one to take over.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from models.bundle import Bundle
from models.registry import Registry
from models.slotbook import SlotBook
from retrain.champion import enthrone
from retrain.coordinator import Coordinator, Parts
from retrain.gate import GateReport
from retrain.history import History
from retrain.jobs import JobRequest, Outcome
from retrain.jobs.folder import CHALLENGER, LABELS, MANIFEST, OUTCOME, REQUEST, JobFolder, Stage
from retrain.ledger import Ledger
from retrain.metrics import RetrainMetrics
from retrain.progress import Progress
from retrain.rollout import Trial
from retrain.rollout.driver import Rollout
from retrain.selection import Selection
from retrain.steps import Steps
from retrain.triggers import Triggers
from stream import messages
from stream.doubles import ManualClock, MemoryBlobs, MemoryBroker, MemoryProducer
from stream.events import DriftReport, Event, RetrainStep, SlotChange, Window
from stream.settings import RetrainSettings, RolloutSettings, Settings
from tests.models.tiny import tiny_bundle, tiny_graph
from tests.retrain import world
from tests.retrain.traffic import Worth, label, shadow, uploads, verdict

GOOD = Worth(challenger=0.01, champion=0.1, both=0.02)
BAD = Worth(challenger=0.15, champion=0.01, both=0.02)
PASSED = GateReport(True, (), {"golden_disagreement": 0.1})
ROLLOUT = RolloutSettings(
    shadow_records=40, shadow_labels=20, canary_records=10, canary_labels=30, share=0.2, shadow_s=600, canary_s=600
)
END = {"promoted", "refused", "rolled_back", "failed"}


class Death(BaseException):
    """The process is gone."""


class Fate:
    """Counts writes and kills at one of them, before or after it had its effect."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.at, self.after, self.writes = at, after, 0

    def __call__(self, write: Callable[[], object]) -> object:
        self.writes += 1
        dies = self.writes == self.at
        if dies and not self.after:
            raise Death
        found = write()
        if dies:
            raise Death
        return found


class MortalBlobs:
    """Blobs whose writer may die."""

    def __init__(self, blobs: MemoryBlobs, fate: Fate) -> None:
        self._blobs, self._fate = blobs, fate
        self.read, self.uri, self.revised = blobs.read, blobs.uri, blobs.revised

    def write(self, name, data, *, media_type):
        return self._fate(lambda: self._blobs.write(name, data, media_type=media_type))

    def replace(self, name, data, *, media_type, revision):
        return self._fate(lambda: self._blobs.replace(name, data, media_type=media_type, revision=revision))


class MortalProducer(MemoryProducer):
    """A producer whose process may die."""

    def __init__(self, broker: MemoryBroker, fate: Fate) -> None:
        super().__init__(broker)
        self._fate = fate

    def send(self, record, on_delivery=None):
        self._fate(lambda: super(MortalProducer, self).send(record, on_delivery))


class QuickJobs:
    """Jobs that make one bundle at once, as a real one writes it down; ``errors`` are raised first, one a run."""

    def __init__(self, store, challenger: Bundle, errors: list[Exception]) -> None:
        self._store, self._challenger, self.errors = store, challenger, errors
        self.runs = 0

    def open_job(self, request: JobRequest) -> None:
        folder = JobFolder(self._store, request.job_id)
        if folder.read_as(REQUEST, JobRequest) is None:
            folder.write(REQUEST, request.model_dump_json().encode())

    def run(self, job_id: str) -> Outcome:
        self.runs += 1
        folder = JobFolder(self._store, job_id)
        folder.write(LABELS, Selection(chosen=(), counts={}, trust={}).model_dump_json().encode())
        if self.errors:
            raise self.errors.pop(0)
        stage = Stage(name="dataset", made_from="", files={}, figures={"learn": 80.0, "slice": 20.0})
        folder.write("stage-dataset.json", stage.model_dump_json().encode())
        folder.write(CHALLENGER, self._challenger.pack())
        outcome = Outcome(
            job_id=job_id, digest=self._challenger.digest, uri=folder.uri(CHALLENGER), slice_uri=folder.uri("s.zip"),
            manifest_uri=folder.uri(MANIFEST), manifest="m" * 64, figures={"auc_slice": 0.9},
        )  # fmt: skip
        folder.write(OUTCOME, outcome.model_dump_json().encode())
        return outcome

    def stop(self) -> None:
        """Nothing runs."""


class Gate:
    """Says what it is told."""

    def __init__(self, report: GateReport) -> None:
        self.report = report

    def judge(self, champion, challenger, slice_uri, lesson_uri) -> GateReport:
        assert champion.digest != challenger.digest
        return self.report

    def stop(self) -> None:
        """Nothing runs."""


class Traffic:
    """Feeds a trial with uploads of stated worth, all of them labelled, as the clock goes."""

    caught_up = True

    def __init__(self, trial: Trial, worth: Worth, clock: ManualClock, seed: int) -> None:
        self._trial, self._clock = trial, clock
        self._uploads = uploads(worth, seed)

    def poll(self) -> int:
        trial, at = self._trial, datetime.fromtimestamp(self._clock.now(), UTC)
        for upload_id, truth, champion, challenger, _ in islice(self._uploads, 20):
            turn = sum(map(ord, upload_id)) % 5 == 0 and trial.stage == "canary"
            digest, p_ai = (trial.challenger, challenger) if turn else ("c" * 64, champion)
            if not turn:
                trial.see_shadow(shadow(upload_id, champion, challenger, at, by=trial.challenger))
            trial.see_verdict(
                verdict(upload_id, digest, p_ai, at - timedelta(hours=1)).model_copy(update={"decided_at": at})
            )
            trial.see_label(label(upload_id, truth))
        return 20

    def close(self) -> None:
        """Nothing is held."""


class Inflow:
    """Reads the topics in memory."""

    caught_up = True

    def __init__(self, control: "Control", history: History, triggers: Triggers) -> None:
        self._control, self._history, self._triggers, self._read = control, history, triggers, [0, 0]

    def poll(self, timeout_s: float) -> None:
        steps, reports = self._control.steps(), self._control.reports()
        for step in steps[self._read[0] :]:
            self._history.see(step)
        for report in reports[self._read[1] :]:
            self._triggers.see(report)
        self._read = [len(steps), len(reports)]


class Control:
    """Store, broker and clock that outlive coordinators."""

    def __init__(self, folder: Path, *, worth: Worth = GOOD, report: GateReport = PASSED, **retrain: object) -> None:
        given = {"labels": 5, "cooldown_s": 3600.0, "every_s": 0.0, "rollout": ROLLOUT, **retrain}
        self.champion, self.challenger = tiny_bundle(), tiny_bundle(tiny_graph(scale=1 / 128))
        (folder / "champion.tar").write_bytes(self.champion.pack())
        settings = Settings(retrain=RetrainSettings(folder=folder, **given))
        worker = settings.worker.model_copy(update={"bundle": str(folder / "champion.tar")})
        self.settings = settings.model_copy(update={"worker": worker})
        self.blobs, self.broker = MemoryBlobs(), MemoryBroker(partitions=1)
        self.clock = ManualClock(1_790_000_000.0)
        self.ledger = Ledger.open(folder / "ledger.db", retention_s=1e9)
        self.worth, self.gate, self.errors = worth, Gate(report), list[Exception]()
        self.life = 0

    def start(self, fate: Fate | None = None) -> Coordinator:
        """A new life: nothing is remembered but store and topics."""
        self.life += 1
        fate = fate or Fate()
        store, producer = MortalBlobs(self.blobs, fate), MortalProducer(self.broker, fate)
        history, triggers, metrics = History(), Triggers(self.settings.retrain), RetrainMetrics()
        registry = Registry(store)
        steps = Steps(producer, "retrain", history, taken=metrics.step)
        self.book = SlotBook(registry, producer, self.settings.topics, self.clock)
        self.jobs = QuickJobs(store, self.challenger, self.errors)
        rollout = Rollout(
            self.settings.retrain.rollout, self.book, steps,
            lambda trial: Traffic(trial, self.worth, self.clock, 1 + self.life), metrics,
        )  # fmt: skip
        parts = Parts(
            history=history, triggers=triggers, steps=steps, ledger=self.ledger, jobs=self.jobs,
            progress=Progress(store), gatekeeper=self.gate, registry=registry, book=self.book, rollout=rollout,
            metrics=metrics,
        )  # fmt: skip
        self.history, self.metrics = history, metrics
        self.inflow = Inflow(self, history, triggers)
        enthrone(self.book, registry, self.settings.worker.bundle)
        return Coordinator(self.settings, parts, self.inflow, self.clock)

    def go(self, coordinator: Coordinator, *, until: set[str] = END, turns: int = 20_000) -> None:
        """Takes turns until a job has taken one of these steps."""
        for _ in range(turns):
            self.inflow.poll(0)
            coordinator.turn()
            self.clock.advance(1.0)
            if any(step.step in until for step in self.steps()):
                return
        raise AssertionError(f"none of {until}: {[step.step for step in self.steps()]}")

    def labelled(self, each: int = 10) -> None:
        """Uploads judged and labelled just now."""
        at = datetime.fromtimestamp(self.clock.now(), UTC)
        for truth in ("authentic", "ai_generated"):
            for number in range(each):
                upload_id = f"{truth}-{number}-{at.timestamp()}"
                said = [world.label(upload_id, truth, f"r{number % 5}", at=at)]
                self.ledger.add([world.verdict(upload_id, at=at)], labels=said)

    def alarm(self, window: str = "w1", status: str = "alarm", **changes: object) -> DriftReport:
        """What a drift monitor says now."""
        at = datetime.fromtimestamp(self.clock.now(), UTC)
        given = {
            "report_id": f"report-{window}-{status}", "model_digest": self.champion.digest, "reference": "r" * 64,
            "status": status, "reason": "the score moved", "window": Window(id=window, size=10, first_at=at), "at": at,
        }  # fmt: skip
        report = DriftReport(**{**given, **changes})
        self.send("drift", report, report.report_id, at)
        return report

    def send(self, topic: str, event: Event, key: str, at: datetime) -> None:
        """Puts an event on a topic."""
        self.broker.append([messages.encode(event, topic=topic, key=key, source="test", time=at)])

    def steps(self) -> list[RetrainStep]:
        return [messages.decode(record, RetrainStep) for record in self.broker.records("retrain")]

    def reports(self) -> list[DriftReport]:
        return [messages.decode(record, DriftReport) for record in self.broker.records("drift")]

    def slots(self) -> dict[str, str | None]:
        """What the models topic says of every slot in the end."""
        changes = [messages.decode(record, SlotChange) for record in self.broker.records("models")]
        return {change.slot: change.digest for change in changes}
