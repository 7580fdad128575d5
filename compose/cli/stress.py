"""`veristream stress`: holds the system to stated limits."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from compose.cli.demo import deliver
from compose.cli.jsonfile import JsonFile, JsonOption
from compose.interrupts import interruptible
from compose.report import Limits
from compose.stress import StressPlan, run
from stream.settings import load
from stream.telemetry import configure_logging

app = typer.Typer(add_completion=False, help="Hold the system to stated limits while workers are killed.")


@app.command()
def stress(
    *,
    broker: Annotated[
        str, typer.Option(help="embedded, kafka (one node from KAFKA_HOME), or HOST:PORT of one that runs")
    ] = "embedded",
    rate: Annotated[float, typer.Option(min=0, help="Mean uploads per second; 0: as fast as the worker takes")] = 0.0,
    events: Annotated[int, typer.Option(min=1, help="Uploads to measure, after a warm-up")] = 5000,
    kills: Annotated[int, typer.Option(min=0, help="SIGKILLs to the worker, spread over the uploads")] = 0,
    max_p50_ms: Annotated[float | None, typer.Option(help="Limit on median latency")] = None,
    max_p99_ms: Annotated[float | None, typer.Option(help="Limit on the 99th percentile of latency")] = None,
    min_images_per_s: Annotated[float | None, typer.Option(help="Limit on sustained throughput")] = None,
    max_memory_mib: Annotated[float, typer.Option(help="Limit on the worker's peak resident memory")] = 600.0,
    as_json: JsonOption = None,
    seed: Annotated[int, typer.Option(help="Same seed, same pictures and arrivals")] = 0,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Side of the pictures, pixels")] = 512,
    outstanding: Annotated[int, typer.Option(min=1, max=256, help="With rate 0: uploads on their way at once")] = 64,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds the last verdicts may take")] = 60.0,
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip with real/ and fake/, in place of the simulated scenes")
    ] = None,
    delivery: Annotated[
        Literal["exactly_once", "at_least_once"] | None, typer.Option(help="What a crash may do to verdicts")
    ] = None,
) -> None:
    """Sends pictures at a rate, kills the worker, waits for every verdict, and compares with the limits.

    The exit code is 1 when a limit was broken, a verdict was lost or came twice, or an upload was dead-lettered.
    """
    settings, json_file = load(), JsonFile(as_json)
    configure_logging(settings.telemetry)
    if delivery is not None:
        settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"delivery": delivery})})
    plan = StressPlan(broker, rate, events, kills, seed, size, outstanding, deadline, images)
    limits = Limits(
        max_p50_ms=max_p50_ms,
        max_p99_ms=max_p99_ms,
        min_images_per_s=min_images_per_s,
        max_memory_mib=max_memory_mib if sys.platform == "linux" else None,
        max_dlq=0,
    )
    console = Console(stderr=True)
    with interruptible(), console.status("starting") if console.is_terminal else nullcontext() as status:
        found = run(plan, limits, settings, on_step=status.update if status is not None else lambda _: None)
    deliver(found, json_file, title="Stress", broken=found["breaches"])
    if not found["ok"]:
        raise typer.Exit(1)
