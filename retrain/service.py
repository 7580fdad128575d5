"""The coordinator, put together: settings in, a process that retrains until it is told to stop.

It works alone: a second one stands by (`retrain.leading`), hears nothing and serves no metrics until it takes over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from models.registry import Registry
from models.slotbook import SlotBook
from retrain.coordinator import Coordinator, Parts
from retrain.gatekeeper import Gatekeeper
from retrain.history import History
from retrain.inflow import Inflow
from retrain.intake import Intake
from retrain.jobs import Jobs
from retrain.jobs.locking import locks
from retrain.keeping import Keeper
from retrain.leading import LEASE, leading
from retrain.ledger import Ledger
from retrain.metrics import RetrainMetrics
from retrain.progress import Progress
from retrain.retention import Sweeper
from retrain.rollout.driver import Rollout
from retrain.rollout.feed import TrialFeed
from retrain.steps import Steps
from retrain.triggers import Triggers
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.errors import JobRunning
from stream.events import RetrainStep
from stream.kafka import KafkaProducer
from stream.ports import Clock, VersionedStore
from stream.settings import Settings
from stream.telemetry import serve_metrics
from stream.topics import layout

CLIENT = "veristream-retrain"
_LEDGER = "ledger.db"


def run(settings: Settings, stop: threading.Event, ready: Callable[[str], None], *, clock: Clock | None = None) -> None:
    """Coordinates until ``stop`` is set, from when no other coordinator does.

    Args:
        settings: All of them.
        stop: Set it to stop.
        ready: Called once, when triggers are heard, with what the gate has to judge by.
        clock: Time; this machine's unless given.

    Raises:
        ConfigurationError: A setting is wrong, or the golden set cannot be read.
        JobRunning: Another coordinator took over, and ``stop`` was set.
        VeristreamError: Something that waiting does not mend.
    """
    clock, store = clock or SystemClock(), open_store(settings.blobs)
    gatekeeper = Gatekeeper(settings.retrain, store)
    golden = gatekeeper.check()
    lost = threading.Event()

    def taken_over() -> None:
        lost.set()
        stop.set()

    with leading(locks(settings.retrain), store, stop, lost=taken_over, clock=clock) as leads:
        if leads:
            _coordinate(settings, store, gatekeeper, clock, stop=stop, ready=lambda: ready(golden))
    if lost.is_set():
        what = "another coordinator took over, because this one could not renew its lease"
        raise JobRunning(what, where=store.uri(LEASE), remedy="Start it again: it stands by")


def _coordinate(
    settings: Settings,
    store: VersionedStore,
    gatekeeper: Gatekeeper,
    clock: Clock,
    *,
    stop: threading.Event,
    ready: Callable[[], None],
) -> None:
    metrics, history = RetrainMetrics(), History()
    ledger = Ledger.open(settings.retrain.folder.expanduser() / _LEDGER, retention_s=settings.retrain.retention_s)
    ledger.forget(clock.now())
    topics = layout(settings.topics)
    producer = KafkaProducer(settings.kafka, client_id=CLIENT)
    triggers = Triggers(settings.retrain)
    intake = Intake(settings.kafka, ledger, (topics["verdicts"].name, topics["feedback"].name), client_id=CLIENT)
    inflow = Inflow(
        settings, intake, history=history, triggers=triggers, metrics=metrics, clock=clock, client_id=CLIENT
    )
    is_ready, ended = threading.Event(), threading.Event()
    keeping = threading.Thread(target=Keeper(settings, store, ledger, clock).run, args=(ended,), name="keeper")
    sweeper = Sweeper(store, settings.retrain.keep_days, clock, metrics.swept)
    sweeping = threading.Thread(target=sweeper.run, args=(ended,), name="sweeper")
    server = serve_metrics(settings.telemetry, metrics, is_ready.is_set)
    try:
        registry = Registry(store)
        jobs = Jobs(settings, store, ledger)
        steps = Steps(producer, topics["retrain"].name, history, taken=_told(metrics, jobs))
        book = SlotBook(registry, producer, settings.topics, clock)
        rollout = Rollout(
            settings.retrain.rollout,
            book,
            steps,
            lambda trial: TrialFeed(settings, trial, client_id=CLIENT, refused=metrics.refused),
            metrics,
        )
        parts = Parts(
            history=history,
            triggers=triggers,
            steps=steps,
            ledger=ledger,
            jobs=jobs,
            progress=Progress(store),
            gatekeeper=gatekeeper,
            registry=registry,
            book=book,
            rollout=rollout,
            metrics=metrics,
        )

        def heard() -> None:
            is_ready.set()
            ready()

        for thread in (keeping, sweeping):
            thread.start()
        Coordinator(settings, parts, inflow, clock).run(stop, heard)
    finally:
        is_ready.clear()
        ended.set()
        for thread in (keeping, sweeping):
            if thread.ident is not None:
                thread.join()
        inflow.close()
        producer.close()
        ledger.close()
        if server is not None:
            server.close()


def _told(metrics: RetrainMetrics, jobs: Jobs) -> Callable[[RetrainStep], None]:
    """Counts each step, and writes what came after the lesson into the job's run on the MLflow server."""

    def told(step: RetrainStep) -> None:
        metrics.step(step)
        if step.step not in ("requested", "dataset_built", "trained"):
            tags = {"step": step.step, "reason": "; ".join(step.reasons) or step.reason}
            jobs.tracking.log(step.job_id, metrics=step.figures, tags=tags)

    return told
