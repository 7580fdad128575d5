"""`veristream demo`: everything on this machine, on a live dashboard or as one report."""

import json
import logging
import sys
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from compose.cli.jsonfile import JsonFile, JsonOption
from compose.demo import DemoPlan, Screen, Shown, run
from compose.interrupts import interruptible
from compose.picture import save_svg
from compose.report import Limits, breaches, summary
from compose.snapshot import Snapshot
from compose.until import Until
from stream.errors import ConfigurationError
from stream.settings import Settings, load
from stream.telemetry import configure_logging

app = typer.Typer(add_completion=False, help="Run everything on this machine and watch it.")

_LOG_LINES = 20
_EVENTS = 2000
_LOOP, _CALM = "new-family", "calm"


class _KeptLog(logging.Handler):
    """Keeps the last warnings until the dashboard has given the terminal back."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=_LOG_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@app.command()
def demo(
    *,
    broker: Annotated[
        str, typer.Option(help="embedded, kafka (one node from KAFKA_HOME), or HOST:PORT of one that runs")
    ] = "embedded",
    headless: Annotated[
        bool, typer.Option("--headless", help="No dashboard; ends after --events, or at --until")
    ] = False,
    events: Annotated[
        int | None,
        typer.Option(min=1, help="End after this many uploads; 2000 when headless without --until, else at Ctrl-C"),
    ] = None,
    until: Annotated[
        Until | None,
        typer.Option(
            help="End when the loop is there: alarm raised, challenger gated (refused), or promoted and measured"
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that --until may take, start-up included")] = 600.0,
    as_json: JsonOption = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip with real/ and fake/, in place of the simulated scenes")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Mean uploads per second, in place of the scenario's own")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            help="Name of a built-in scenario, or a .yaml file; unsaid: new-family, or calm with --events or --images"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same traffic")] = 0,
    delivery: Annotated[
        Literal["exactly_once", "at_least_once"] | None, typer.Option(help="What a crash may do to verdicts")
    ] = None,
    snapshot: Annotated[Path | None, typer.Option(help="Save the last dashboard as an SVG picture")] = None,
) -> None:
    """Starts broker, Redis, blob folder, a classify worker, traffic and a subscriber; Ctrl-C stops them all.

    In a scenario with moderators (new-family, poisoned-labels) the whole loop runs: the drift monitor and the
    retraining coordinator beside the worker, labels, a gate, and a rollout. The built-in pictures are simulated scenes,
    not real photographs. The report counts a verdict as right against what the traffic generator knows. The exit code
    is 1 if a verdict was lost or came twice, or if --until was not reached in time.
    """
    settings, json_file = load(), JsonFile(as_json)
    if delivery is not None:
        settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"delivery": delivery})})
    if headless:
        events = events or (None if until is not None else _EVENTS)
    elif not sys.stdout.isatty():
        raise ConfigurationError(
            "the dashboard needs a terminal", where="stdout", remedy="Add --headless --events N --json FILE"
        )
    if scenario is None:
        scenario = _LOOP if until is not None or (events is None and images is None) else _CALM
    plan = DemoPlan(broker, scenario, rate, events, images, seed, until, timeout)
    with interruptible():
        found = _headless(plan, settings, snapshot) if headless else _on_screen(plan, settings, snapshot)
    broken = breaches(found, Limits()) if plan.counted else []
    if until is not None and not found["until"]["reached"]:
        broken.append(found["until"]["missed"])
    deliver(found, json_file, title="Demo", broken=broken)
    if broken:
        raise typer.Exit(1)


def deliver(found: dict[str, Any], json_file: JsonFile, *, title: str, broken: list[str]) -> None:
    """Writes the report where it was asked for, and to people unless stdout is taken.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    json_file.write(json.dumps(found, indent=2 if json_file.in_file else None))
    if not json_file.on_stdout:
        Console().print(summary(found, title=title, broken=broken))


def _headless(plan: DemoPlan, settings: Settings, picture: Path | None) -> dict[str, Any]:
    configure_logging(settings.telemetry)
    console = Console(stderr=True)
    last: deque[Snapshot] = deque(maxlen=1)
    with console.status("starting") if console.is_terminal else nullcontext() as status:

        def step(text: str) -> None:
            if status is not None:
                status.update(text)

        def look(snapshot: Snapshot) -> None:
            if snapshot.outstanding or not last:
                last.append(snapshot)
            stage = f", {snapshot.loop.stage}" if snapshot.loop is not None else ""
            step(f"{snapshot.verdicts:,} verdicts on {snapshot.uploads:,} uploads{stage}")

        found = run(plan, settings, on_step=step, on_snapshot=look)
    _save(picture, last)
    return found


def _on_screen(plan: DemoPlan, settings: Settings, picture: Path | None) -> dict[str, Any]:
    kept = _KeptLog()
    logging.getLogger().addHandler(kept)
    console = Console()
    last: deque[Snapshot] = deque(maxlen=1)
    screen = Screen(console)
    status = console.status("starting")
    shown: list[Shown] = []

    def look(snapshot: Snapshot) -> None:
        if not shown:
            status.stop()
            shown.append(screen.__enter__())
        last.append(snapshot)
        shown[0](snapshot)

    status.start()
    try:
        found = run(plan, settings, on_step=status.update, on_snapshot=look)
    finally:
        status.stop()
        if shown:
            screen.__exit__(None, None, None)
        for line in kept.lines:
            typer.echo(line, err=True)
    _save(picture, last)
    return found


def _save(picture: Path | None, last: deque[Snapshot]) -> None:
    if picture is not None and last:
        save_svg(last[0], picture)
