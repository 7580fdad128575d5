"""The one door to training, whatever the recipe's kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.bundle import Bundle, refuse_taken
from models.dataset import listing
from models.recipes import Finetune, Frozen
from models.training import finetuned, frozen
from models.training.checkpoints import Told, nobody
from models.training.finetuned import Device
from models.training.progress import SILENT, Listener
from models.training.ranks import processes
from stream.errors import ConfigurationError


def train(
    data: Sequence[Path],
    out: Path,
    recipe: Frozen | Finetune,
    *,
    test: Path | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    device: Device = "auto",
    weights: Path | None = None,
    start: Bundle | None = None,
    parent: Path | None = None,
    threads: int = 2,
    command: str = "",
    listener: Listener = SILENT,
    told: Told = nobody,
) -> Bundle | None:
    """Train a bundle; see `frozen.train` and `finetuned.train`.

    ``checkpoints`` defaults to ``OUT.checkpoints``, beside ``out``; ``parent`` is a ``data.json`` or a list. Frozen
    features leave no checkpoint, so there is nothing for ``told`` to be told.
    Returns None on every process but the first.

    Raises:
        ConfigurationError: The recipe's kind has no use for something that was asked for, or it is not there.
    """
    refuse_taken(out)
    if weights is not None and not weights.exists():
        remedy = "Name a folder (config.json and model.safetensors), or a .safetensors file of the network's own state."
        raise ConfigurationError("there are no weights to start from", where=str(weights), remedy=remedy)
    if weights is not None and start is not None:
        raise ConfigurationError("a run starts from one set of weights", where="--start, --weights", remedy="Give one.")
    grown = listing.manifest_of(parent) if parent else None
    if isinstance(recipe, Finetune):
        return finetuned.train(
            data, out, recipe, checkpoints=checkpoints or out.with_name(f"{out.name}.checkpoints"), test=test,
            resume=resume, device=device, weights=weights, start=start, parent=grown, threads=threads, command=command,
            listener=listener, told=told,
        )  # fmt: skip
    unused = {"--checkpoints": checkpoints, "--resume": resume, "--weights": weights, "--start": start}
    if given := [name for name, value in unused.items() if value]:
        raise ConfigurationError(
            f"a recipe of frozen features has no use for {given[0]}", remedy="It starts again in minutes."
        )
    if processes() > 1:
        raise ConfigurationError("a recipe of frozen features runs in one process", remedy="Start it without torchrun.")
    return frozen.train(data, out, recipe, test=test, parent=grown, threads=threads, command=command, listener=listener)
