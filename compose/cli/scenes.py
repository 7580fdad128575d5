"""`veristream scenes`: export the simulated pictures that training reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from producers.traffic import scenes
from stream.errors import ConfigurationError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Simulated photographs and machine-made pictures.")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The zip to write")],
    *,
    seed: Annotated[int, typer.Option(min=0, max=1999, help="Different seeds share no scene")] = 7,
    per_family: Annotated[int, typer.Option(min=1, help="Pictures of each family; as many photographs in all")] = 140,
    size: Annotated[int, typer.Option(min=64, help="Side, pixels")] = 224,
    family: Annotated[list[str] | None, typer.Option(help="Families; the trained ones if left out")] = None,
    delivered: Annotated[
        bool, typer.Option("--delivered", help="Encoded as simulated traffic is, not all alike at q95")
    ] = False,
    every_family: Annotated[bool, typer.Option("--all", help="The unseen families as well, for measuring")] = False,
) -> None:
    """Write scenes as a zip with real/simulated-camera/… and fake/FAMILY/…."""
    chosen = tuple(family) if family else scenes.families() if every_family else scenes.TRAINED_FAMILIES
    if unknown := [name for name in chosen if name not in scenes.families()]:
        raise ConfigurationError(
            f"There is no family {unknown[0]!r}", remedy=f"Known families: {', '.join(scenes.families())}."
        )
    with _progress(2 * per_family * len(chosen)) as progress:
        total = scenes.export(
            out, seed=seed, per_family=per_family, size=size, families=chosen, delivered=delivered, progress=progress
        )
    _tell(total, out)


@app.command()
def golden(
    out: Annotated[Path, typer.Argument(help="The zip to write")],
    *,
    pictures: Annotated[int, typer.Option(min=20, help="In all, half of them photographs")] = 400,
) -> None:
    """Write the demo's golden set: labelled scenes of the families that its model knows, always the same."""
    with _progress(pictures) as progress:
        total = scenes.golden(out, pictures=pictures, progress=progress)
    _tell(total, out)


@app.command()
def families() -> None:
    """List the decoder families."""
    for name in scenes.families():
        typer.echo(f"{name}\t{'trained on' if name in scenes.TRAINED_FAMILIES else 'unseen'}")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("scenes", total=total)
        yield lambda: progress.advance(task)


def _tell(total: int, out: Path) -> None:
    Console(stderr=True).print(f"{total} simulated pictures in {out}")
