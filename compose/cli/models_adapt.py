"""`veristream models adapt` and `adapt-bench`: learn a source from a few labels, and measure how well that goes."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from compose.cli.extras import needing
from compose.cli.jsonfile import JsonFile, JsonOption
from models.bundle import Bundle, refuse_taken
from models.evaluation import pictures
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.manifest import TrainingSource

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
_adapting = partial(needing, "adapt", "Adapting a bundle")


def adapt(
    bundle: Annotated[
        str, typer.Argument(help="Folder or tar, or a shipped one: `default`, `cifake-32`, `demo`", metavar="BUNDLE")
    ],
    more: Annotated[list[Path] | None, typer.Argument(help="Further zips or folders", metavar="[DATA]...")] = None,
    *,
    out: Annotated[
        Path | None, typer.Option(help="The new bundle's folder; must not exist yet [default: NAME-VERSION-adapted]")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Zip or folder with real/SOURCE/… and fake/SOURCE/…; more may follow")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Stored embeddings instead (npz: vectors, p_ai as scores, labels, digest)")
    ] = None,
    labels: Annotated[
        int | None, typer.Option(min=4, help="Learn from at most so many pictures, measure on the others")
    ] = None,
    golden: Annotated[list[Path] | None, typer.Option(help="Old pictures to measure the loss on")] = None,
    as_json: JsonOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, the folds and the bootstrap")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of ONNX Runtime")] = 2,
) -> None:
    """Teach a bundle a new source from a few labelled pictures: seconds. Needs the `adapt` extra, no torch."""
    run, examples, trial = (_adapting(f"models.adaptation.{name}") for name in ("run", "examples", "trial"))
    if bool(data) == bool(embeddings) or (embeddings and (more or labels)):
        raise ConfigurationError(
            "Give either pictures or embeddings", where="--data, --embeddings",
            remedy="--labels holds out pictures, so it goes with --data.",
        )  # fmt: skip
    json_file = JsonFile(as_json)
    parent = Bundle.named(bundle)
    out = out or Path(f"{parent.manifest.name}-{parent.manifest.version}-adapted")
    refuse_taken(out)
    head, _ = run.check(parent)
    held_out: Sequence[pictures.Collection] = ()
    old = pictures.index(golden) if golden else []
    written: tuple[TrainingSource, ...] = ()
    started = time.perf_counter()
    if embeddings:
        shown = examples.from_embeddings(embeddings, parent, head.projection.shape[1])
    else:
        collections = pictures.index([*(data or []), *(more or [])])
        if labels is not None:
            collections, held_out = trial.drawn(collections, labels, seed=seed)
        with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("features", total=sum(len(part.entries) for part in collections))
            shown = examples.from_pictures(
                collections, parent, threads=threads, advance=lambda step: progress.advance(task, step)
            )
        written = trial.written(collections)
    lesson = run.adapt(parent, shown, seed=seed, taught=written)
    seconds = time.perf_counter() - started
    figures: dict[str, Any] = {
        "bundle": lesson.bundle.digest,
        "parent": parent.digest,
        "labels": {"real": int((shown.labels == 0).sum()), "fake": int((shown.labels == 1).sum())},
        "unreadable": shown.unreadable,
        "learned_from": "embeddings" if embeddings else "pictures",
        "seed": seed,
        "seconds": round(seconds, 2),
        "out_of_fold": lesson.bundle.manifest.metrics["out-of-fold"],
    }
    for name, kept_apart in (("held_out", held_out), ("golden", old)):
        if kept_apart:
            comparison = trial.compared(parent, lesson.bundle, kept_apart, threads=threads)
            figures[name] = comparison.figures(parent, lesson.bundle, seed=seed)
    lesson.bundle.save(out)
    _report(figures, _summary(figures), json_file)
    Console(stderr=True).print(f"bundle {lesson.bundle.digest} in {out}")


def adapt_bench(
    more: Annotated[list[Path] | None, typer.Argument(help="Further zips or folders", metavar="[DATA]...")] = None,
    *,
    data: Annotated[list[Path], typer.Option(help="Zips with real/SOURCE/… and fake/SOURCE/…; more may follow")],
    bundle: Annotated[
        str, typer.Option(help="Whose network is taken; the heads are fitted without what is left out")
    ] = "default",
    labels: Annotated[int, typer.Option(min=4, help="Pictures to learn from")] = 200,
    features: Annotated[Path | None, typer.Option(help="npz that keeps the features between runs")] = None,
    as_json: JsonOption = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of ONNX Runtime")] = 2,
) -> None:
    """Measure adaptation: leave out each source of fakes in turn with two of reals, then learn it from a few labels."""
    rotation = _adapting("models.adaptation.rotation")
    json_file = JsonFile(as_json)
    parent = Bundle.named(bundle)
    collections = pictures.index([*data, *(more or [])])
    with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("features", total=sum(len(part.entries) for part in collections))
        pool = rotation.pool(
            parent, collections, kept=features, threads=threads, advance=lambda step: progress.advance(task, step)
        )
        turns = progress.add_task("rotation", total=len(pool.generators))
        figures = rotation.rotate(pool, labels=labels, seed=seed, advance=lambda step: progress.advance(turns, step))
    table = Table("left out", "before", "after", "from embeddings", "golden before", "after", "labels", "seconds")
    for name, row in [*figures["generators"].items(), ("mean", figures["mean"])]:
        table.add_row(
            name, *(f"{row[key]:.3f}" for key in rotation.COLUMNS), f"{row['labels']:.0f}", f"{row['seconds']:.1f}"
        )
    _report(figures, table, json_file)


def _report(figures: dict[str, Any], table: Table, json_file: JsonFile) -> None:
    json_file.write(json.dumps(figures, allow_nan=False))
    if not json_file.on_stdout:
        Console(stderr=json_file.in_file).print(table)


def _summary(figures: dict[str, Any]) -> Table:
    labels = figures["labels"]
    title = f"{labels['real']} authentic and {labels['fake']} machine-made pictures, {figures['seconds']:.1f} s"
    table = Table("AUC", "before", "after", "pictures", title=title)
    for name in ("held_out", "golden"):
        if name in figures:
            part = figures[name]
            table.add_row(name.replace("_", " "), _figure(part, "before"), _figure(part, "after"), str(part["n"]))
    for name, part in figures["out_of_fold"].items():
        table.add_row(
            f"{name}, out of fold", f"{part['auc_before']:.3f}", f"{part['auc']:.3f}", f"{part['pictures']:.0f}"
        )
    return table


def _figure(part: dict[str, Any], when: str) -> str:
    value, ends = part[f"auc_{when}"], part[f"auc_{when}_ci95"]
    return "–" if value is None else f"{value:.3f}" + (f" ({ends[0]:.3f}–{ends[1]:.3f})" if ends else "")
