"""`veristream bench drift`: how often drift is told of clean traffic, and how soon of a family that is new."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from compose.cli.jsonfile import JsonFile, JsonOption
from compose.driftbench import pool, run
from compose.driftbench.figures import LEAST_DETECTED, MOST_FALSE_ALARMS, breaches, figures
from compose.driftbench.trials import BenchPlan
from drift.policy import Rules
from drift.projection import COMPONENTS
from drift.thresholds import ALPHA
from models.bundle import Bundle
from producers.traffic.scenes import UNSEEN_FAMILIES, families
from stream.errors import ConfigurationError
from stream.settings import DriftSettings

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
_DEFAULTS = DriftSettings()


def drift(
    bundle: Annotated[str, typer.Option(help="Whose embeddings: folder or tar, or a shipped bundle's name")] = "demo",
    *,
    kept: Annotated[
        Path, typer.Option(help="Folder that keeps the embeddings, so that a second run renders nothing")
    ] = Path(".bench"),
    family: Annotated[
        list[str] | None, typer.Option(help="What enters and counts; the unseen families if left out")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Reported beside, not counted; a family trained on is left out of the calm")
    ] = None,
    streams: Annotated[int, typer.Option(min=1, help="Clean streams")] = 160,
    runs: Annotated[int, typer.Option(min=1, help="Streams that each family enters")] = 60,
    clean: Annotated[int, typer.Option(min=1, help="Uploads of a clean stream")] = 3000,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the family that enters")] = 0.1,
    window: Annotated[int, typer.Option(min=50, help="Embeddings judged together")] = _DEFAULTS.window,
    alpha: Annotated[float, typer.Option(help="Share of unchanged windows beyond a threshold")] = ALPHA,
    components: Annotated[int, typer.Option(min=1, help="Principal directions watched")] = COMPONENTS,
    repetitions: Annotated[int, typer.Option(min=100, help="Re-partitions of a calibration")] = 500,
    calibration: Annotated[int, typer.Option(min=200, help="Embeddings a reference is built of")] = _DEFAULTS.baseline,
    photographs: Annotated[int, typer.Option(min=10, help="Different photographs")] = 5500,
    per_family: Annotated[int, typer.Option(min=10, help="Different pictures of each family trained on")] = 920,
    per_unseen: Annotated[int, typer.Option(min=10, help="Different pictures of each unseen family")] = 250,
    seed: Annotated[int, typer.Option(min=0, help="Of pictures, deals and traffic")] = 1,
    processes: Annotated[int, typer.Option(min=1)] = 2,
    as_json: JsonOption = None,
) -> None:
    """Judge many simulated streams and compare false alarms and delays with the limits; exit 1 where one is broken."""
    json_file = JsonFile(as_json)
    counted = tuple(family or UNSEEN_FAMILIES)
    entering = tuple(dict.fromkeys([*counted, *(also or [])]))
    if unknown := [name for name in entering if name not in families()]:
        remedy = f"There are {', '.join(families())}"
        raise ConfigurationError(f"there is no family {unknown[0]!r}", where="--family", remedy=remedy)
    opened = Bundle.named(bundle)
    plan = BenchPlan(
        window=window, reference=_DEFAULTS.reference, calibration=calibration, alpha=alpha, components=components,
        repetitions=repetitions, clean=clean, share=share, within=2000,
        rules=Rules(minimum=min(window, Rules().minimum)),
    )  # fmt: skip
    sizes = pool.PoolPlan(photographs, per_family, per_unseen, seed)
    run.check(sizes, plan, entering)
    chosen = run.planned(entering, streams=streams, runs=runs, seed=seed)
    started = time.perf_counter()
    with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("pictures", total=pool.SHOTS * len(sizes.subjects))
        path = pool.prepared(
            kept, opened, sizes, processes=processes, advance=lambda step: progress.advance(task, step)
        )
        rendered = time.perf_counter()
        progress.update(task, completed=pool.SHOTS * len(sizes.subjects))
        task = progress.add_task("trials", total=len(chosen))
        found = list(
            run.outcomes(path, plan, chosen, processes=processes, advance=lambda step: progress.advance(task, step))
        )
    report = figures(found, plan, counted, seed=seed)
    broken = breaches(report, plan.within)
    report |= {
        "limits": {"false_alarms_per_100k": MOST_FALSE_ALARMS, "detected": LEAST_DETECTED, "within": plan.within},
        "ok": not broken,
        "breaches": broken,
        "settings": asdict(plan),
        "pool": {**asdict(sizes), "bundle": opened.digest, "pictures": len(sizes.subjects)},
        "seconds": {
            "pictures": round(rendered - started, 1),
            "trials": round(time.perf_counter() - rendered, 1),
        },
    }
    json_file.write(json.dumps(report, allow_nan=False))
    if not json_file.on_stdout:
        Console(stderr=json_file.in_file).print(_table(report, plan.within))
    if broken:
        raise typer.Exit(1)


def _table(report: dict[str, Any], within: int) -> Table:
    clean = report["clean"]
    alarms, ends = report["false_alarms_per_100k"], report["false_alarms_per_100k_ci95"]
    title = f"{alarms:.2f} ({ends[0]:.2f}–{ends[1]:.2f}) false alarms in 100,000 of {clean['uploads']:,} clean uploads"
    table = Table(Column(no_wrap=True), Column(f"alarmed within {within:,}", no_wrap=True), title=title)
    for heading in ("delay, median", "90 %", "early warning", "runs"):
        table.add_column(heading)
    for name, row in [*report["families"].items(), ("all that count", report)]:
        low, high = row[f"detected_within_{within}_ci95"]
        table.add_row(
            name, f"{row[f'detected_within_{within}']:.0%} ({low:.0%}–{high:.0%})",
            *(_uploads(row["delay"][level]) for level in ("p50", "p90")),
            f"{row['early_warning']:.0%}", str(row["runs"]),
        )  # fmt: skip
    table.caption = "; ".join(report["breaches"]) or "every limit holds"
    return table


def _uploads(value: float | None) -> str:
    return "never" if value is None else f"{value:,.0f}"
