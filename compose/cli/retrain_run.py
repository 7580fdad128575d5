"""`veristream retrain run`, `start` and `cancel`: the coordinating process, and a person's own trigger and veto."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from compose.cli.retrain_jobs import Named, named, read_history
from compose.cli.signals import until_signalled
from models.registry import Registry
from models.slotbook import SlotBook
from retrain import service
from retrain.champion import enthrone, reigning
from retrain.jobs.folder import REQUEST, JobFolder
from retrain.steps import Steps
from retrain.triggers import by_person
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.errors import ConfigurationError
from stream.kafka import KafkaProducer
from stream.settings import load
from stream.telemetry import configure_logging
from stream.topics import layout


def run() -> None:
    """Wait for triggers, retrain, judge and roll out until SIGTERM or Ctrl-C.

    One process for a platform is enough; another stands by until the first has ended, and says so in its log.

    Every setting is a VERISTREAM_RETRAIN__ variable. When triggers are heard, it writes one line of JSON to stdout,
    ``{"event": "ready", ...}``. Logs go to stderr.
    """
    settings = load()
    configure_logging(settings.telemetry)
    if not settings.blobs.store:
        remedy = "Set VERISTREAM_BLOBS__STORE to a file:// or s3:// address that the workers can read"
        raise ConfigurationError(
            "retraining keeps its jobs and bundles in a blob store", where="retrain", remedy=remedy
        )
    stop = until_signalled()

    def ready(golden: str) -> None:
        line = {
            "event": "ready",
            "kind": settings.retrain.kind,
            "executor": settings.retrain.executor,
            "gate": golden,
            "metrics_port": settings.telemetry.metrics_port,
        }
        typer.echo(json.dumps(line))

    service.run(settings, stop, ready)


def start(
    reason: Annotated[str, typer.Argument(help="Why, for whoever reads the history")] = "by hand",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout")] = False,
) -> None:
    """Ask for a job now; the coordinator does it, with the labels there are. Refused while one is under way."""
    settings = load()
    history = read_history(settings)
    if (job := history.open) is not None:
        remedy = f"Wait for its end, or end it with `veristream retrain cancel {job.id}`"
        raise ConfigurationError(f"job {job.id} is under way ({job.last.step})", where="retrain start", remedy=remedy)
    store, now = open_store(settings.blobs), datetime.now(UTC)
    registry = Registry(store)
    producer = KafkaProducer(settings.kafka, client_id="veristream-retrain-start")
    try:
        book = SlotBook(registry, producer, settings.topics, SystemClock())
        enthrone(book, registry, settings.worker.bundle)
        champion = reigning(book)
        assert champion is not None  # noqa: S101  there is one since the line above
        request = by_person(champion, reason, now, settings=settings.retrain)
        # What is asked lies there before the first step says so.
        JobFolder(store, request.job_id).write(REQUEST, request.model_dump_json(indent=1).encode())
        Steps(producer, layout(settings.topics)["retrain"].name, history).take(
            request.job_id, "requested", now, kind=request.kind, trigger=request.trigger, reason=request.trigger,
            parent=request.model_digest,
        )  # fmt: skip
    finally:
        producer.close()
    if as_json:
        typer.echo(json.dumps({"job": request.job_id, "champion": champion.digest}))
    else:
        Console(highlight=False).print(
            f"job {request.job_id} was asked for; `veristream retrain show {request.job_id}`"
        )


def cancel(
    job: Named,
    reason: Annotated[str, typer.Argument(help="Why, for whoever reads the history")] = "by hand",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout")] = False,
) -> None:
    """End a job that waits for labels or learns. What it is learning goes nowhere; the next trigger is heard again.

    Refused once a challenger stands: the gate answers in seconds, and `models rollback` ends a trial.
    """
    settings = load()
    history = read_history(settings)
    found = named(history, job)
    if found.over or found.last.step not in ("requested", "dataset_built"):
        remedy = (
            "`veristream retrain show` tells its story"
            if found.over
            else "Wait for the gate, or end its trial: `veristream models rollback`"
        )
        raise ConfigurationError(f"job {found.id} is {found.last.step}", where="retrain cancel", remedy=remedy)
    producer = KafkaProducer(settings.kafka, client_id="veristream-retrain-cancel")
    try:
        steps = Steps(producer, layout(settings.topics)["retrain"].name, history)
        steps.take(found.id, "failed", datetime.now(UTC), reason=f"cancelled by a person: {reason}")
    finally:
        producer.close()
    if as_json:
        typer.echo(json.dumps({"job": found.id}))
    else:
        Console(highlight=False).print(f"job {found.id} was cancelled")
