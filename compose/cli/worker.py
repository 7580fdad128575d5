"""`veristream worker`: the process that reads uploads and answers them with verdicts."""

import json
import os
from typing import Annotated, Literal

import typer

from compose.cli.signals import until_signalled
from consumers.classify.allocator import keep_freed_memory
from consumers.classify.worker import build
from stream.settings import load
from stream.telemetry import configure_logging

app = typer.Typer(add_completion=False, help="Classify uploads: the process that runs in production.")

_VARIABLES = {
    "bootstrap": "VERISTREAM_KAFKA__BOOTSTRAP",
    "bundle": "VERISTREAM_WORKER__BUNDLE",
    "delivery": "VERISTREAM_WORKER__DELIVERY",
    "group": "VERISTREAM_WORKER__GROUP",
    "id": "VERISTREAM_WORKER__ID",
    "metrics_port": "VERISTREAM_TELEMETRY__METRICS_PORT",
    "provider": "VERISTREAM_WORKER__PROVIDER",
}


@app.command()
def worker(
    *,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka, as HOST:PORT")] = None,
    bundle: Annotated[str | None, typer.Option(help="`default`, `cifake-32`, or a bundle's folder or tar")] = None,
    provider: Annotated[
        Literal["auto", "tensorrt", "cuda", "openvino", "cpu"] | None,
        typer.Option(help="Execution provider of the model"),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group; workers of one group share the uploads")] = None,
    worker_id: Annotated[
        str | None, typer.Option("--id", help="Stable over restarts and unique among the workers")
    ] = None,
    delivery: Annotated[
        Literal["exactly_once", "at_least_once"] | None, typer.Option(help="What a crash may do to answers")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Prometheus metrics, /healthz and /readyz; 0: off")] = None,
) -> None:
    """Reads uploads until SIGTERM or Ctrl-C, then finishes and commits what is in hand.

    Every other setting is a VERISTREAM_ variable; a flag stands for the variable of its name. When the worker is
    about to read uploads, it writes one line of JSON to stdout, ``{"event": "ready", ...}``. Logs go to stderr.
    """
    flags = {
        "bootstrap": bootstrap,
        "bundle": bundle,
        "delivery": delivery,
        "group": group,
        "id": worker_id,
        "metrics_port": metrics_port,
        "provider": provider,
    }
    os.environ.update({_VARIABLES[name]: str(value) for name, value in flags.items() if value is not None})
    settings = load()
    configure_logging(settings.telemetry)
    keep_freed_memory()
    stop = until_signalled()
    classify = build(settings)

    def ready() -> None:
        model = classify.model
        line = {
            "event": "ready",
            "worker": settings.worker.id,
            "group": settings.worker.group,
            "delivery": settings.worker.delivery,
            "bundle": {"name": model.name, "version": model.version, "digest": model.digest},
            "provider": model.provider,
            "metrics_port": settings.telemetry.metrics_port,
        }
        typer.echo(json.dumps(line))

    classify.run(stop, ready)
