"""Learning by training: a recipe, the labelled pictures and what the recipe was trained on before, with torch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from models.bundle import Bundle
from models.manifest import MANIFEST
from models.recipes import Finetune, Frozen
from retrain.manifest import DatasetManifest
from stream.errors import JobFailed


def train(
    parent: Bundle,
    manifest: DatasetManifest,
    learn: Path,
    *,
    recipe: Frozen | Finetune,
    base: Sequence[Path],
    weights: Path | None,
    scratch: Path,
) -> tuple[Bundle, dict[str, float]]:
    """Trains a bundle on the labelled pictures and the base, from the weights in a folder where one is given.

    A fine-tuning run leaves checkpoints in ``scratch`` and goes on from the last when it is called again. Every label
    weighs the same here: a recipe weighs sources, not pictures.

    Raises:
        ConfigurationError: Recipe or pictures cannot be used.
        ModelError: The loss or a score is no number.
        BundleInvalid: The bundle cannot be written.
    """
    from models.training.train import train as trained  # noqa: PLC0415  torch, for jobs of this kind only

    scratch.mkdir(parents=True, exist_ok=True)
    out, checkpoints = scratch / "bundle", scratch / "checkpoints"
    # A run that ended after its bundle was written and before the stage was recorded is done again: it is cheap to find
    # out and rare.
    shutil.rmtree(out, ignore_errors=True)
    tuned = isinstance(recipe, Finetune)
    made = trained(
        [*base, learn], out, recipe, checkpoints=checkpoints if tuned else None,
        resume=tuned and checkpoints.is_dir() and any(checkpoints.iterdir()), device="auto",
        weights=weights if tuned else None, threads=manifest.threads,
        command=f"veristream retrain rebuild {manifest.job_id}",
    )  # fmt: skip
    if made is None:
        raise JobFailed("this process is not the first of the training run", where=manifest.job_id)
    child = _grown(made, parent, manifest)
    shutil.rmtree(scratch)
    return child, {}


def _grown(made: Bundle, parent: Bundle, manifest: DatasetManifest) -> Bundle:
    """The bundle with its parent named and dated as the job was, so that it can be made again."""
    named = made.manifest.model_copy(update={"parent": parent.digest, "created": manifest.created})
    return Bundle.build(named, {name: data for name, data in made.files.items() if name != MANIFEST})
