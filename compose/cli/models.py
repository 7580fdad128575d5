"""`veristream models`: train, evaluate, show, verify and promote bundles, and make twins of photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from compose.cli.jsonfile import JsonFile, JsonOption
from compose.cli.models_adapt import adapt, adapt_bench
from compose.cli.models_data import data as check_data
from compose.cli.models_optimise import optimise, table
from compose.cli.models_reference import reference
from compose.cli.models_slots import promote, rollback, show_history
from compose.cli.models_train import train
from compose.cli.models_twins import fit_decoders, twins
from models.bundle import Bundle
from models.classifier import Classifier
from models.evaluation import pictures
from models.evaluation.delivery import TIERS
from models.evaluation.report import html
from models.evaluation.run import Evaluation
from models.evaluation.run import evaluate as measure
from stream.errors import ConfigurationError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Train, evaluate, adapt, optimise, show, verify and promote model bundles.",
)
app.command()(train)
app.command("data")(check_data)
app.command("twins")(twins)
app.command("fit-decoders")(fit_decoders)
app.command("adapt")(adapt)
app.command("adapt-bench")(adapt_bench)
app.command("optimise")(optimise)
app.command()(promote)
app.command()(rollback)
app.command("history")(show_history)
app.command("reference")(reference)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]
BundleName = Annotated[
    str, typer.Argument(help="Folder or tar, or a shipped one: `default`, `cifake-32`, `demo`", metavar="BUNDLE")
]


@app.command()
def evaluate(
    bundle: BundleName,
    more: Annotated[list[Path] | None, typer.Argument(help="Further zips or folders", metavar="[DATA]...")] = None,
    *,
    data: Annotated[
        list[Path], typer.Option(help="Zip or folder with real/SOURCE/… and fake/SOURCE/…; more may follow")
    ],
    as_json: JsonOption = None,
    report: Annotated[Path | None, typer.Option(help="File for the page with plots (HTML)")] = None,
    tiers: Annotated[str, typer.Option(help="Delivery tiers to report, with commas")] = ",".join(TIERS),
    per_source: Annotated[
        int | None, typer.Option(min=1, help="At most so many pictures of each source, drawn by the seed")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap and of --per-source")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="No metamorphic tests, no failure modes")] = False,
    threads: Annotated[int, typer.Option(min=1, help="That decode, transform and score")] = 2,
) -> None:
    """Measure a bundle on labelled pictures: AUC, error rates, calibration, slices, robustness. Needs no torch."""
    named = [name.strip() for name in tiers.split(",")]
    if unknown := [name for name in named if name not in TIERS]:
        raise ConfigurationError(
            f"there is no tier {unknown[0]!r}", where="--tiers", remedy=f"Tiers: {', '.join(TIERS)}"
        )
    json_file = JsonFile(as_json, report)
    opened = Bundle.named(bundle)
    collections = pictures.index([*data, *(more or [])])
    if per_source is not None:
        collections = pictures.sampled(collections, per_source, seed=seed)
    columns = (TextColumn("evaluate"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=sum(len(collection.entries) for collection in collections))
        chosen = [tier for tier in TIERS if tier in named]
        found = measure(
            opened, collections, tiers=chosen, seed=seed, tests=not quick, threads=threads,
            advance=lambda step: progress.advance(task, step),
        )  # fmt: skip
    json_file.write(json.dumps(found.figures, allow_nan=False), {report: html(found)} if report else {})
    if not json_file.on_stdout:
        Console(stderr=json_file.in_file).print(_summary(found))


@app.command()
def show(bundle: BundleName = "default", *, as_json: Json = False) -> None:
    """Say what a bundle is: input, thresholds, training data and measured figures."""
    opened = Bundle.named(bundle)
    manifest, calibration = opened.manifest, opened.calibration
    if as_json:
        content = {
            "digest": opened.digest,
            "manifest": manifest.model_dump(mode="json"),
            "calibration": calibration.model_dump(mode="json"),
            "optimisation": opened.optimisation.model_dump(mode="json") if opened.optimisation else None,
        }
        typer.echo(json.dumps(content))
        return
    console = Console()
    facts = Table.grid(padding=(0, 2))
    size = sum(len(data) for data in opened.files.values())
    above, below = calibration.thresholds.ai_above, calibration.thresholds.authentic_below
    for name, value in (
        ("name", f"{manifest.name} {manifest.version}, {size / 2**20:.2f} MiB"),
        ("digest", opened.digest),
        ("input", f"{manifest.input.crops} crop(s) of {manifest.input.size} px"),
        ("ai_generated", f"above p = {above.value:.3f} (false positives {above.rate:.3f} of {above.pictures})"),
        ("authentic", f"below p = {below.value:.3f} (false negatives {below.rate:.3f} of {below.pictures})"),
    ):
        facts.add_row(name, value)
    console.print(facts)
    figures = Table("tier", "slice", "figures", show_lines=False)
    for tier, slices in manifest.metrics.items():
        for name, measures in slices.items():
            figures.add_row(tier, name, "  ".join(f"{key} {value:g}" for key, value in measures.items()))
    console.print(figures)
    if opened.optimisation:
        console.print(table(opened.optimisation))


@app.command()
def verify(bundle: BundleName = "default", *, as_json: Json = False) -> None:
    """Check every digest, load the model and run it once; exit 1 where anything is wrong."""
    opened = Bundle.named(bundle)
    classifier = Classifier.load(opened)
    found = {"ok": True, "digest": opened.digest, "name": classifier.name, "provider": classifier.provider}
    typer.echo(
        json.dumps(found) if as_json else f"{classifier.name} {opened.digest}: whole, runs on {found['provider']}"
    )


def _summary(evaluation: Evaluation) -> Table:
    figures = evaluation.figures
    table = Table("", *figures["tiers"], title=f"{figures['bundle']['name']} on {figures['n']:,} pictures")
    for name in ("auc", "auc_pooled", "accuracy", "balanced_accuracy", "fpr", "fnr", "abstained", "ece"):
        table.add_row(name.replace("_", " "), *(_figure(tier, name) for tier in figures["tiers"].values()))
    table.add_row("most lost by a source", *(_worst(tier["worst_source"]) for tier in figures["tiers"].values()))
    table.caption = f"real against real: AUC {_figure(figures, 'real_vs_real')}"
    if (chance := figures["real_vs_real_detail"]["chance"]) is not None:
        table.caption += f", {chance:.3f} by chance, .5 is not at all"
    if moved := figures["metamorphic"].get("any"):
        table.caption += (
            f"; six re-encodings: {moved['reversed']:.1%} of verdicts change side (ai_generated against authentic), "
            f"{moved['changed']:.1%} change at all, {moved['crossed']:.1%} of scores cross even odds"
        )
    return table


def _worst(found: dict[str, Any]) -> str:
    return f"{found['fpr']:.1%} of {found['n_real']:,} {found['name']}"


def _figure(figures: dict[str, Any], name: str) -> str:
    value, ends = figures[name], figures[f"{name}_ci95"]
    return "–" if value is None else f"{value:.3f}" + (f" ({ends[0]:.3f}–{ends[1]:.3f})" if ends else "")
