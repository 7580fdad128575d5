"""`veristream models`: train, show and verify bundles, and fit the learned decoders."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.bundle import Bundle
from models.classifier import Classifier
from models.recipes import load
from stream.errors import ConfigurationError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train, show and verify model bundles.")

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]
BundlePath = Annotated[
    Path | None, typer.Argument(help="Folder or tar; the shipped bundle if left out", metavar="BUNDLE")
]


@app.command()
def train(
    more: Annotated[list[Path] | None, typer.Argument(help="Further zips", metavar="[ZIP]...")] = None,
    *,
    data: Annotated[list[Path], typer.Option(help="Zips with real/SOURCE/… and fake/SOURCE/…; more may follow")],
    out: Annotated[Path, typer.Option(help="The bundle's folder; must not exist yet")],
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a .yaml file")] = "default",
    test: Annotated[Path | None, typer.Option(help="Scenes kept apart, measured family by family")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of ONNX Runtime and torch")] = 2,
) -> None:
    """Train a bundle: minutes on two cores. Needs the `train` extra."""
    console = Console(stderr=True)
    plan = load(recipe)
    run = _training("models.training.run")
    archives = [*data, *(more or [])]
    bundle = run.train(archives, out, plan, test=test, threads=threads, report=console.print)
    console.print(f"bundle {bundle.digest} in {out}")


@app.command()
def show(bundle: BundlePath = None, *, as_json: Json = False) -> None:
    """Say what a bundle is: input, thresholds, training data and measured figures."""
    opened = _open(bundle)
    manifest, calibration = opened.manifest, opened.calibration
    if as_json:
        content = {
            "digest": opened.digest,
            "manifest": manifest.model_dump(mode="json"),
            "calibration": calibration.model_dump(mode="json"),
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


@app.command()
def verify(bundle: BundlePath = None, *, as_json: Json = False) -> None:
    """Check every digest, load the model and run it once; exit 1 where anything is wrong."""
    opened = _open(bundle)
    classifier = Classifier.load(opened)
    found = {"ok": True, "digest": opened.digest, "name": classifier.name, "provider": classifier.provider}
    typer.echo(
        json.dumps(found) if as_json else f"{classifier.name} {opened.digest}: whole, runs on {found['provider']}"
    )


@app.command("fit-decoders")
def fit_decoders(
    *,
    data: Annotated[Path, typer.Option(help="Zip of scenes or photographs, all of one size")],
    out: Annotated[Path, typer.Option(help="Folder for the ONNX files")],
    steps: Annotated[int, typer.Option(min=1)] = 1200,
) -> None:
    """Train the learned decoder families on the authentic pictures of a zip. Needs the `train` extra."""
    for path in _training("models.reconstruction.fitting").fit_zip(data, out, steps=steps):
        typer.echo(f"{path} ({path.stat().st_size} bytes)")


def _open(bundle: Path | None) -> Bundle:
    return Bundle.default() if bundle is None else Bundle.open(bundle)


def _training(module: str) -> Any:
    """Imports a training module when it is needed, so that `show` and `verify` run without torch."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Training needs {error.name}", remedy="Install the extra: pip install 'veristream[train]'."
        ) from error
