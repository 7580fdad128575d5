"""`veristream traffic`: simulated uploads by a scenario, and the score of the verdicts on them."""

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from producers.packing import Packer
from producers.traffic import scenario as scenarios
from producers.traffic.evaluation import Evaluation
from producers.traffic.generator import RunSummary, TrafficGenerator, limited
from producers.traffic.moderators import Moderators
from producers.traffic.plan import Plan
from producers.traffic.reader import EvaluationReader, fresh_consumer
from producers.traffic.supply import open_pictures
from producers.upload import UploadProducer
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.events import Truth
from stream.kafka import KafkaProducer
from stream.settings import load
from stream.topics import layout

app = typer.Typer(add_completion=False, help="Upload simulated pictures by a scenario and grade the verdicts.")

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]


@app.command()
def run(
    *,
    scenario: Annotated[str, typer.Option(help="Name of a built-in scenario, or a .yaml file")] = "calm",
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Mean uploads per second, in place of the scenario's own")
    ] = None,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after this many uploads")] = None,
    duration: Annotated[float | None, typer.Option(min=0.001, help="Stop after this many seconds")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip with real/[SOURCE/] and fake/[SOURCE/], instead of scenes")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same traffic")] = 0,
    as_json: Json = False,
) -> None:
    """Plays a scenario in real time. With --events or --duration its last phase goes on until then."""
    settings = load()
    play = scenarios.load(scenario)
    if rate is not None:
        play = play.at_rate(rate)
    names = layout(settings.topics)
    with open_pictures(images, settings.blobs) as pictures, _until_interrupted() as stop:
        plan = Plan(play, pictures.families(), seed=seed, endless=events is not None or duration is not None)
        producer = KafkaProducer(settings.kafka, client_id="traffic")
        packer = Packer(open_store(settings.blobs), settings.blobs.inline_limit, settings.images.max_bytes)
        with UploadProducer(producer, packer, topic=names["uploads"].name) as uploads:
            generator = TrafficGenerator(
                uploads, producer, pictures, truth_topic=names["truth"].name, seed=seed, clock=SystemClock()
            )
            moderators = None
            if play.moderators:
                feedback = names["feedback"].name
                moderators = Moderators(play.moderators, producer, topic=feedback, seed=seed, clock=SystemClock())
            with _status(enabled=not as_json) as show:

                def told(truth: Truth) -> None:
                    show(truth)
                    if moderators:
                        moderators.see(truth)

                summary = generator.run(limited(plan, events=events, duration_s=duration), stop=stop, on_truth=told)
            if moderators:
                moderators.close()
    report = {"scenario": play.name, "seed": seed, **summary.report()}
    if moderators:
        report["labels_given"] = moderators.report()
    if as_json:
        typer.echo(json.dumps(report))
    else:
        Console().print(_sent(play.name, summary, moderators))
    if stop.is_set():
        raise typer.Exit(130)


@app.command("scenarios")
def list_scenarios(as_json: Json = False) -> None:
    """Lists the built-in scenarios with their phases."""
    built_in = [scenarios.load(name) for name in scenarios.builtin_names()]
    if as_json:
        typer.echo(json.dumps([scenario.model_dump() for scenario in built_in]))
        return
    console = Console()
    for scenario in built_in:
        table = Table(title=f"{scenario.name}: {scenario.about}", title_justify="left", title_style="bold")
        for column in ("phase", "length", "uploads/s", "bursts", "fakes"):
            table.add_column(column, justify="left" if column == "phase" else "right")
        for phase in scenario.phases:
            table.add_row(
                phase.name,
                f"{phase.events} uploads" if phase.events else f"{phase.duration_s:g} s",
                f"{phase.rate:g}",
                f"×{phase.burst.factor:g}" if phase.burst.factor > 1 else "none",
                f"{phase.fake_share:.0%}",
            )
        console.print(table, "")


@app.command()
def evaluate(
    follow: Annotated[bool, typer.Option("--follow", help="Start now and show the running score until Ctrl-C")] = False,
    idle: Annotated[float, typer.Option(min=0.1, help="End when nothing was read for this many seconds")] = 5.0,
    as_json: Json = False,
) -> None:
    """Joins truths and verdicts from their topics: from the beginning to the end, or with --follow from now on."""
    settings = load()
    names = layout(settings.topics)
    evaluation = Evaluation()
    reader = EvaluationReader(
        fresh_consumer(settings.kafka, from_beginning=not follow),
        evaluation,
        truths=names["truth"].name,
        verdicts=names["verdicts"].name,
        live=follow,
        clock=SystemClock(),
    )
    console = Console(stderr=as_json)
    try:
        with _until_interrupted() as stop, Live(console=console, refresh_per_second=4, transient=True) as live:
            reader.read_to_end(
                idle_s=math.inf if follow else idle,
                stop=stop,
                on_read=lambda: live.update(_score(evaluation.snapshot())),
            )
    finally:
        reader.close()
    report = {**evaluation.report(), "unreadable": reader.unreadable}
    if as_json:
        typer.echo(json.dumps(report))
    else:
        Console().print(_score(report), _slices(report))


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    stop = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _status(*, enabled: bool) -> Iterator[Callable[[Truth], None]]:
    if not enabled:
        yield lambda truth: None
        return
    console = Console(stderr=True)
    with console.status("traffic") as status:
        sent = 0

        def show(truth: Truth) -> None:
            nonlocal sent
            sent += 1
            status.update(f"phase {truth.phase}: {sent} uploads")

        yield show


def _sent(name: str, summary: RunSummary, moderators: Moderators | None) -> Table:
    lag = summary.lag.report()
    table = Table(title=f"Scenario {name}", show_header=False)
    table.add_row("uploads", f"{summary.sent} in {summary.seconds:.1f} s, {summary.rate:.1f} per second")
    table.add_row("behind schedule", f"p50 {lag['p50']} ms, p99 {lag['p99']} ms, most {lag['max']} ms")
    for title, counts in (
        ("labels", summary.labels),
        ("families", summary.families),
        ("personas", summary.personas),
        ("tiers", summary.tiers),
    ):
        table.add_row(title, ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    if moderators:
        told = moderators.report()
        table.add_row("labels given", f"{told['given']} by {len(told['reviewers'])} reviewers, {told['wrong']} wrong")
    return table


def _score(report: dict[str, Any]) -> Table:
    table = Table(title="Verdicts against the truth", show_header=False)
    for name in ("uploads", "verdicts", "lost", "waiting", "duplicated", "uncertain"):
        if name in report:
            table.add_row(name, str(report[name]))
    for name in ("accuracy", "coverage", "accuracy_forced", "fpr", "detection_rate"):
        table.add_row(name.replace("_", " "), _rate(report, name))
    latency = report["latency_ms"]
    if latency["p50"] is not None:
        table.add_row("latency", ", ".join(f"{name} {value:.0f} ms" for name, value in latency.items()))
    return table


def _slices(report: dict[str, Any]) -> Table:
    table = Table(title="By slice")
    for column in ("slice", "uploads", "accuracy", "coverage", "false alarms", "detected"):
        table.add_column(column)
    for by in ("family", "persona", "tier", "phase"):
        for name, tally in report[f"by_{by}"].items():
            rates = (_rate(tally, key) for key in ("accuracy", "coverage", "fpr", "detection_rate"))
            table.add_row(f"{by} {name}", str(tally["uploads"]), *rates)
        table.add_section()
    return table


def _rate(tally: dict[str, Any], name: str) -> str:
    if tally[name] is None:
        return "–"
    low, high = tally[f"{name}_ci95"]
    return f"{tally[name]:.1%} ({low:.1%}–{high:.1%})"
