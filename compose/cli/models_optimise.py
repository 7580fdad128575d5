"""`veristream models optimise`: measure how a bundle runs, and write one that runs the best way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from compose.cli.extras import needing
from compose.cli.jsonfile import JsonFile, JsonOption
from models.bundle import Bundle, refuse_taken
from models.evaluation import pictures
from models.optimisation.report import Optimisation
from stream.errors import ConfigurationError


def optimise(
    bundle: Annotated[
        str, typer.Argument(help="Folder or tar, or a shipped one: `default`, `cifake-32`, `demo`", metavar="BUNDLE")
    ],
    more: Annotated[list[Path] | None, typer.Argument(help="Further zips or folders", metavar="[DATA]...")] = None,
    *,
    data: Annotated[
        list[Path], typer.Option(help="Zip or folder with real/SOURCE/… and fake/SOURCE/…; more may follow")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The new bundle's folder; must not exist yet [default: NAME-VERSION-optimised]")
    ] = None,
    as_json: JsonOption = None,
    batches: Annotated[str, typer.Option(help="Pictures in a run, with commas")] = "1,4,16",
    threads: Annotated[
        str | None,
        typer.Option(help="Threads of a run on the CPU, with commas [default: powers of two up to the cores]"),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="How long each configuration runs in a round; ten times, if that takes under 20 s"),
    ] = 0.5,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in a process of its own")] = 3,
    loss: Annotated[float, typer.Option(min=0, max=1, help="AUC that a quicker way may lose")] = 0.005,
    latency: Annotated[
        float, typer.Option(min=0, help="Milliseconds that the 99th percentile of a batch may take")
    ] = 250,
    per_source: Annotated[
        int | None, typer.Option(min=1, help="At most so many pictures of each source, drawn by the seed")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw")] = 0,
) -> None:
    """Measure precisions, execution providers, batches and threads, and write a bundle that runs the quickest.

    Needs the `optimise` extra and no torch. The bundle given does not change. For a large model on a processor, fewer
    batches, rounds and pictures are enough: `--batches 1 --rounds 1 --per-source 20`.
    """
    json_file = JsonFile(as_json)
    opened = Bundle.named(bundle)
    out = out or Path(f"{opened.manifest.name}-{opened.manifest.version}-optimised")
    refuse_taken(out)
    collections = pictures.index([*data, *(more or [])])
    if per_source is not None:
        collections = pictures.sampled(collections, per_source, seed=seed)
    run = needing("optimise", "Optimising", "models.optimisation.run")
    given: dict[str, Any] = {"threads": _numbers(threads, "--threads")} if threads else {}
    plan = run.Plan(
        batches=_numbers(batches, "--batches"), seconds=seconds, rounds=rounds, largest_loss=loss, latency_ms=latency,
        seed=seed, **given,
    )  # fmt: skip
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:

        def progress(what: str, total: int) -> Any:
            task = bars.add_task(what, total=total)
            return lambda step: bars.advance(task, step)

        made: Bundle = run.optimise(opened, collections, plan, report=bars.console.print, progress=progress)
    report = made.optimisation
    assert report is not None  # noqa: S101 - narrows the type; `run` has just put it in
    made.save(out)
    json_file.write(report.to_json().decode())
    if not json_file.on_stdout:
        console.print(table(report))
    console.print(f"bundle {made.digest} in {out}")


def table(report: Optimisation) -> Group:
    """What was measured, the pick marked."""
    here, pick = report.machine, report.pick
    scores = Table("", "provider", "KiB", "AUC", "95 %", "largest change", "verdicts changed", title="Precision")
    for variant in report.variants:
        ends = variant.auc_difference_ci95
        scores.add_row(
            variant.precision, variant.provider, f"{variant.size_bytes / 1024:.0f}",
            f"{variant.auc:.4f} ({variant.auc_difference:+.4f})", f"{ends[0]:+.3f} {ends[1]:+.3f}" if ends else "–",
            f"{variant.largest_change:.3f}", f"{variant.verdicts_changed:.1%}",
        )  # fmt: skip
    speeds = Table("", "threads", "batch", "images/s", "p50 ms", "p99 ms", "CPU ms/image", "MiB", title="Speed")
    for speed in report.speeds:
        chosen = all(getattr(speed, name) == getattr(pick, name) for name in type(pick).model_fields)
        speeds.add_row(
            f"{'→ ' if chosen else ''}{speed.precision} {speed.provider}", str(speed.threads), str(speed.batch),
            f"{speed.images_per_second:.0f}", f"{speed.p50_ms:.1f}", f"{speed.p99_ms:.1f}", f"{speed.cpu_ms:.2f}",
            f"{speed.memory_mib:.0f}",
        )  # fmt: skip
    where = f"Pick: {pick}. Measured on {here.processor}, {here.cores} core(s), ONNX Runtime {here.onnxruntime}."
    return Group(scores, speeds, where, *(f"Not measured: {reason}" for reason in report.skipped))


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        numbers = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        numbers = ()
    if not numbers or numbers[0] < 1:
        raise ConfigurationError(f"{text!r} is not a list of positive numbers", where=option, remedy="Write 1,4,16.")
    return numbers
