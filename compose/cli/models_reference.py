"""`veristream models reference`: give a bundle what drift compares its embeddings with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from compose import references
from drift.reference import SIZE, Reference
from drift.thresholds import ALPHA
from models.bundle import Bundle, refuse_taken
from models.classifier import Classifier
from stream.errors import ConfigurationError
from stream.settings import DriftSettings

_COLUMNS = (TextColumn("embeddings"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
_DEFAULTS = DriftSettings()


def reference(
    bundle: Annotated[str, typer.Argument(help="Folder or tar, or `default`", metavar="BUNDLE")],
    more: Annotated[list[Path] | None, typer.Argument(help="Further zips or folders", metavar="[PICTURES]...")] = None,
    *,
    out: Annotated[Path, typer.Option(help="The new bundle's folder; must not exist yet")],
    pictures: Annotated[
        list[Path] | None, typer.Option(help="Zip or folder with real/SOURCE/… and fake/SOURCE/…; more may follow")
    ] = None,
    scenes: Annotated[
        int | None, typer.Option(min=1, help="Instead: so many uploads as the traffic generator sends them")
    ] = None,
    scenario: Annotated[str, typer.Option(help="Whose first phase those are")] = references.CALM,
    window: Annotated[int, typer.Option(min=50, help="Embeddings that will be judged together")] = _DEFAULTS.window,
    size: Annotated[int, typer.Option(min=100, help="Embeddings to compare with")] = SIZE,
    alpha: Annotated[float, typer.Option(help="Share of unchanged windows beyond some threshold")] = ALPHA,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes, the choice and the re-partitions")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="That decode and score")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout")] = False,
) -> None:
    """Write the bundle anew with a calibrated reference for drift; 5,000 pictures and more make good thresholds."""
    if (pictures is None) == (scenes is None) or (more and scenes is not None):
        raise ConfigurationError("Give either pictures or a number of scenes", where="--pictures, --scenes")
    refuse_taken(out)
    parent = Bundle.named(bundle)
    classifier = Classifier.load(parent)
    started = time.perf_counter()
    if pictures is not None:
        files, count = references.from_files([*pictures, *(more or [])])
        source = "pictures from files"
    else:
        count = scenes or 0
        files = references.calm_traffic(count, seed=seed, play=scenario)
        source = f"simulated traffic of the scenario {scenario}, first phase"
    with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=count)
        seen = references.see(files, classifier, threads=threads, advance=lambda step: progress.advance(task, step))
    frozen = Reference.build(
        seen.vectors, seen.scores, model_digest="", window=window, seed=seed, size=size, alpha=alpha
    )
    made = references.sealed(parent, frozen, count=len(seen.scores), source=source)
    made.save(out)
    figures = {
        "bundle": made.digest,
        "parent": parent.digest,
        "reference": Reference.read(frozen.to_bytes(), model_digest=made.digest).digest,
        "pictures": len(seen.scores),
        "unreadable": dict(seen.unreadable),
        "kept": len(frozen.vectors),
        "windows": [level.n_current for level in frozen.thresholds],
        "alpha": alpha,
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 2),
    }
    if as_json:
        typer.echo(json.dumps(figures))
        return
    table = Table("", show_header=False, title=f"{made.manifest.name} {made.manifest.version} in {out}")
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console().print(table)
