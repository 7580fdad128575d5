"""`veristream models data`: are these pictures fit to train on, and which are they?"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from compose.cli.extras import needing
from models.dataset import listing
from models.dataset.policy import Policy
from models.evaluation import files, pictures

if TYPE_CHECKING:
    from models.dataset.probe import Probe
    from models.dataset.report import Report
    from models.dataset.survey import Advance

_NAMED = 20
_training = partial(needing, "train", "Checking data")


def data(
    paths: Annotated[list[Path], typer.Argument(help="Zips or folders with real/SOURCE/… and fake/SOURCE/…")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout")] = False,
    manifest: Annotated[Path | None, typer.Option(help="File for the list of all pictures (JSON lines, gzip)")] = None,
    parent: Annotated[
        Path | None, typer.Option(help="data.json or list of the data that these pictures grew out of")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(help="A list: say which of its pictures are missing or changed, and no more")
    ] = None,
    crop: Annotated[
        int, typer.Option(min=0, max=176, help="Side of the crops training cuts; 0: it takes the files as they are")
    ] = 128,
    smallest_side: Annotated[int, typer.Option(min=1, help="Pixels under which a picture is left out")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the probe's sample, folds and degradations")] = 1,
) -> None:
    """Check labelled pictures before training; exit 1 where training would refuse them. Needs the `train` extra."""
    console = Console(stderr=True)
    if verify is not None:
        _verify(paths, verify, console, as_json=as_json)
        return
    files.check([manifest] if manifest else [])
    grown = listing.manifest_of(parent) if parent else None
    collections = pictures.index(paths)
    policy = Policy(smallest_side=smallest_side, seed=seed)
    checking, variants = _training("models.dataset.checking"), _training("models.training.variants")
    delivered = partial(variants.encoded, size=crop) if crop else None
    with _progress(console) as progress:
        dataset = checking.check(
            collections, policy, delivered=delivered, parent=grown, advance=_follow(progress)
        )  # fmt: skip
    if manifest:
        files.write({manifest: listing.pack(dataset.manifest, dataset.rows)})
    report: Report = dataset.report
    if as_json:
        found = {"ok": not report.refusals, **report.model_dump(mode="json")}
        found["manifest"] = json.loads(dataset.manifest.to_bytes())
        typer.echo(json.dumps(found, allow_nan=False))
    _show(report, console)
    if report.refusals:
        raise typer.Exit(1)


def _verify(paths: list[Path], verify: Path, console: Console, *, as_json: bool) -> None:
    manifest, rows = listing.unpack(verify)
    collections = pictures.index(paths)
    with _progress(console) as progress:
        found = listing.verify(rows, collections, _follow(progress))
    if as_json:
        typer.echo(json.dumps({"ok": found.whole, "digest": manifest.digest, **asdict(found)}))
    for fate, named in (("missing", found.missing), ("changed", found.changed), ("moved", found.moved)):
        for path in named[:_NAMED]:
            console.print(f"{fate}  {path}", highlight=False, markup=False)
        if len(named) > _NAMED:
            console.print(f"{fate}  and {len(named) - _NAMED:,} more")
    console.print(
        f"data {manifest.digest}: {found.pictures:,} pictures, {len(found.missing):,} missing, "
        f"{len(found.changed):,} changed, {len(found.moved):,} moved, {found.added:,} unknown beside them"
    )
    if not found.whole:
        raise typer.Exit(1)


def _show(report: Report, console: Console) -> None:
    table = Table("source", "pictures", title=f"{report.kept:,} of {report.found:,} pictures kept")
    table.columns[1].justify = "right"
    for name, count in report.sources.items():
        table.add_row(name, f"{count:,}")
    for reason, count in report.dropped.items():
        table.add_row(f"left out: {reason.replace('_', ' ')}", f"{count:,}", style="yellow")
    console.print(table)
    probes = Table("files alone", "balanced accuracy", "at least", "each by itself", title="Leak probe")
    for state, probe in report.probes.items():
        probes.add_row(f"{state} (decides)" if state == report.decided_by else state, *_cells(probe))
    console.print(probes)
    for warning in report.warnings:
        console.print(f"note: {warning}", style="yellow", markup=False)
    for refusal in report.refusals:
        console.print(f"refused: {refusal.what}. {refusal.remedy}", style="red", markup=False)
    console.print(f"data {report.digest}", highlight=False)


def _cells(probe: Probe) -> tuple[str, str, str]:
    if probe.balanced_accuracy is None or probe.lower is None:
        return "–", "–", "too few pictures"
    alone = ", ".join(f"{name} {value:.3f}" for name, value in probe.alone.items())
    return f"{probe.balanced_accuracy:.3f}", f"{probe.lower:.3f}", alone or "the same everywhere"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _follow(progress: Progress) -> Advance:
    tasks: dict[str, TaskID] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = progress.add_task(stage, total=total)
        progress.update(tasks[stage], completed=done)

    return advance
