"""`veristream backfill`: a folder, zip or bucket of pictures to the topic that is read without haste."""

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from producers.backfill import Backfill, BackfillSummary
from producers.journal import Journal
from producers.sources import open_source
from producers.upload import UploadProducer
from stream.settings import load

app = typer.Typer(add_completion=False)


@app.command()
def backfill(
    source: Annotated[str, typer.Argument(help="A folder, a zip, or s3://bucket/prefix")],
    *,
    state: Annotated[
        Path | None, typer.Option(help="Journal of what was delivered; run again with it to go on after a stop")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most this many pictures a second")] = None,
    uploader: Annotated[str, typer.Option(help="Account id to put on every upload")] = "backfill",
    tenant: Annotated[str, typer.Option(help="Whose platform")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout")] = False,
) -> None:
    """Sends every picture of SOURCE to `uploads.backfill`, which workers read when nothing fresh waits.

    Ids follow from source, path and content: a second run gives the same ids. Files that are no pictures are counted
    and passed over.
    """
    settings = load()
    pictures = open_source(source, settings.blobs)
    stop = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        with (
            Journal(state, pictures.name) as journal,
            UploadProducer.connect(settings, topic="uploads.backfill", client_id="backfill") as uploads,
        ):
            job = Backfill(
                pictures,
                uploads,
                journal,
                uploader=uploader,
                tenant=tenant,
                inline_limit=settings.blobs.inline_limit,
                max_bytes=settings.images.max_bytes,
                per_second=rate,
            )
            summary = _run(job, pictures.count() if sys.stderr.isatty() else None, stop)
    finally:
        signal.signal(signal.SIGINT, previous)
        pictures.close()
    if as_json:
        typer.echo(json.dumps({"source": pictures.name, "complete": not stop.is_set(), **summary.report()}))
    else:
        Console().print(_table(summary))
    if stop.is_set():
        raise typer.Exit(130)


def _run(job: Backfill, total: int | None, stop: threading.Event) -> BackfillSummary:
    columns = (
        SpinnerColumn(),
        TextColumn("backfill"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s, {task.fields[skipped]} skipped"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, rate=0.0, skipped=0)

        def show(summary: BackfillSummary) -> None:
            rate = summary.sent / summary.seconds if summary.seconds else 0.0
            progress.update(task, completed=summary.found, rate=rate, skipped=summary.skipped.total())

        return job.run(stop=stop, on_progress=show)


def _table(summary: BackfillSummary) -> Table:
    table = Table(title="Backfill", show_header=False)
    table.add_row("found", str(summary.found))
    table.add_row("delivered", f"{summary.delivered} ({summary.bytes / 1_000_000:.1f} MB)")
    table.add_row("delivered before", str(summary.done_before))
    for reason, count in sorted(summary.skipped.items()):
        table.add_row(f"skipped: {reason}", str(count))
    table.add_row("time", f"{summary.seconds:.1f} s")
    return table
