"""`veristream models train`: labelled pictures in, a bundle out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from compose.cli.extras import training
from models.bundle import Bundle
from models.recipes import load


def train(
    more: Annotated[list[Path] | None, typer.Argument(help="Further zips or folders", metavar="[DATA]...")] = None,
    *,
    data: Annotated[
        list[Path], typer.Option(help="Zip or folder with real/SOURCE/… and fake/SOURCE/…; more may follow")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The bundle's folder; must not exist yet [default: NAME-VERSION of the recipe]")
    ] = None,
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a .yaml file")] = "default",
    test: Annotated[Path | None, typer.Option(help="Pictures kept apart, measured and never learned from")] = None,
    parent: Annotated[
        Path | None, typer.Option(help="data.json or list of the data that these pictures grew out of")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of ONNX Runtime and torch")] = 2,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="What a finetune recipe computes on")] = "auto",
    weights: Annotated[Path | None, typer.Option(help="Folder of the weights a finetune recipe starts from")] = None,
    start: Annotated[Path | None, typer.Option(help="Bundle whose weights a finetune recipe goes on from")] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder of a finetune recipe's checkpoint [default: OUT.checkpoints]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint")] = False,
) -> None:
    """Train a bundle: minutes to hours on two cores. Needs the `train` extra.

    A finetune recipe also runs on several processes: `torchrun --nproc-per-node N -m compose models train …`.
    """
    plan = load(recipe)
    out = out or Path(f"{plan.name}-{plan.version}")
    run = training("models.training.train")
    places = [*data, *(more or [])]
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    quiet = os.environ.get("RANK", "0") != "0"
    with Progress(*columns, console=Console(stderr=True, quiet=quiet), transient=True) as progress:
        bundle = run.train(
            places, out, plan, test=test, checkpoints=checkpoints, resume=resume, device=device, weights=weights,
            start=Bundle.open(start) if start else None, parent=parent, threads=threads,
            command=_command(recipe, places, {"test": test, "weights": weights, "start": start, "out": out}),
            listener=_Bars(progress),
        )  # fmt: skip
    if bundle is not None:
        Console(stderr=True).print(f"bundle {bundle.digest} in {out}")


class _Bars:
    """A `models.training.progress.Listener` that draws on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("read", total=None, note="")

    def say(self, line: str) -> None:
        self._progress.console.print(line, highlight=False)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total, completed=done, note="")

    def advance(self, step: int = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=step, note=note)


def _command(recipe: str, data: list[Path], named: Mapping[str, Path | None]) -> str:
    """The command as the card gives it, with names instead of this machine's paths."""
    parts = ["veristream models train", f"--recipe {Path(recipe).name}", f"--data {' '.join(p.name for p in data)}"]
    return " ".join([*parts, *(f"--{name} {path.name}" for name, path in named.items() if path)])
