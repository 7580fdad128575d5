"""`veristream models twins` and `fit-decoders`: machine-made twins of photographs, and the decoders that make them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from compose.cli.extras import training
from models.evaluation import files, pictures
from models.reconstruction import families as known
from models.reconstruction import twins as pairs
from models.reconstruction.learned import LEARNED, WEIGHTS

Data = Annotated[list[Path], typer.Option(help="Zip or folder with real/SOURCE/…; more may follow")]
More = Annotated[list[Path] | None, typer.Argument(help="Further zips or folders", metavar="[DATA]...")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]


def twins(
    more: More = None,
    *,
    data: Data,
    out: Annotated[Path, typer.Option(help="The zip to write")],
    families: Annotated[str, typer.Option(help="Decoder families to draw from, with commas")] = ",".join(known()),
    decoders: Annotated[Path, typer.Option(help="Folder of `fit-decoders`", show_default="those that ship")] = WEIGHTS,
    per_picture: Annotated[int, typer.Option(min=1, help="Twins of each photograph, of different families")] = 1,
    side: Annotated[int, typer.Option(min=32, help="Larger pictures are cut to it, pixels")] = pairs.SIDE,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    as_json: Json = False,
) -> None:
    """Make machine-made twins of photographs, alike in content, size and codec. Needs no torch."""
    plan = pairs.Plan(_named(families), per_picture, side, seed, decoders)
    files.check([out])
    collections = pictures.photographs([*data, *(more or [])])
    with _progress("twins") as progress:
        task = progress.add_task("", total=sum(len(collection.entries) for collection in collections))
        made = pairs.write(
            collections, out, plan, threads=threads, advance=lambda step: progress.advance(task, step)
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"out": str(out), **asdict(made)}))
        return
    table = Table("family", "twins", "PSNR", title=f"{made.photographs:,} photographs and their twins in {out}")
    for family, count in made.twins.items():
        table.add_row(family, f"{count:,}", f"{made.psnr[family]:.1f} dB")
    if made.unreadable:
        table.caption = f"{sum(made.unreadable.values()):,} could not be decoded and were left out"
    Console().print(table)


def fit_decoders(
    more: More = None,
    *,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the ONNX files")],
    families: Annotated[str, typer.Option(help="Learned families, with commas")] = ",".join(LEARNED),
    steps: Annotated[int, typer.Option(min=1, help="Batches of eight 64-pixel crops, each family")] = 1500,
    adversarial: Annotated[float, typer.Option(min=0, help="Weight of a patch GAN; 0 does without")] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Fit the learned decoder families on photographs of any size. Needs the `train` extra."""
    fitting = training("models.reconstruction.fitting")
    chosen = _named(families)
    with _progress("fit") as progress:
        task = progress.add_task("", total=steps * len(chosen))
        quality = fitting.fit_all(
            [*data, *(more or [])], out, families=chosen, steps=steps, seed=seed, adversarial=adversarial,
            progress=lambda family, step: progress.advance(task),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"out": str(out), "psnr": quality}))
        return
    table = Table("family", "PSNR, held out", "file")
    for family, value in quality.items():
        table.add_row(family, f"{value:.1f} dB", f"{(out / f'{family}.onnx').stat().st_size:,} bytes")
    Console().print(table)


def _named(families: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in families.split(","))


def _progress(name: str) -> Progress:
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
