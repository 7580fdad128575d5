"""Learning by training: a recipe, the labelled pictures and what the recipe was trained on before, with torch."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from models.adaptation.run import lessons
from models.bundle import Bundle
from models.manifest import MANIFEST
from models.recipes import Finetune, Frozen
from models.training.checkpoints import FILE, Told, nobody
from retrain.manifest import DatasetManifest

_KEPT_EVERY_S = 120.0


def check(parent: Bundle, recipe: Frozen | Finetune) -> tuple[str, ...]:
    """Says before a job reads a picture whether a recipe can go on from the champion's weights, and warns in words.

    Raises:
        ConfigurationError: It cannot; the message says why, and what to set.
        BundleInvalid: The champion's weights cannot be read.
    """
    from models.training import weights  # noqa: PLC0415  torch, for jobs of this kind only

    weights.check(parent, recipe)
    if count := lessons(parent):
        return (f"the champion had {count} lessons since its network was trained, which its weights know nothing of",)
    return ()


def train(
    parent: Bundle,
    manifest: DatasetManifest,
    learn: Path,
    *,
    recipe: Frozen | Finetune,
    base: Sequence[Path],
    weights: Path | None,
    scratch: Path,
    kept: bytes | None = None,
    told: Told = nobody,
) -> Bundle | None:
    """Trains a bundle on the labelled pictures and the base: from the champion's weights where the manifest says so.

    A fine-tuning run leaves its checkpoint in ``scratch``, and tells of it, so that other machines find it too; it goes
    on from it when it is called again. What a label is worth multiplies the weight that the recipe gives its source.

    Args:
        parent: The champion, named in the bundle.
        manifest: What is learned from.
        learn: The labelled pictures.
        recipe: The run.
        base: What the recipe was trained on before.
        weights: Folder of the weights that the recipe starts from.
        scratch: Folder for what the run needs; removed when the bundle is made.
        kept: The checkpoint that another machine left.
        told: Is told of every checkpoint, on every process of the run.

    Returns:
        The bundle; None on every process of the run but the first.

    Raises:
        ConfigurationError: Recipe or pictures cannot be used.
        ModelError: The loss or a score is no number.
        BundleInvalid: The bundle cannot be written.
    """
    from models.training.train import train as trained  # noqa: PLC0415  torch, for jobs of this kind only

    out, checkpoints = scratch / "bundle", scratch / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = checkpoints / FILE
    if kept is not None and not path.exists():
        path.write_bytes(kept)
    # A run that ended after its bundle was written and before the stage was recorded is done again: it is cheap to find
    # out and rare.
    shutil.rmtree(out, ignore_errors=True)
    tuned = isinstance(recipe, Finetune)
    start = parent if manifest.start == "champion" else None
    made = trained(
        [*base, learn], out, recipe, checkpoints=checkpoints if tuned else None,
        resume=tuned and path.exists(), device="auto", told=told,
        weights=weights if tuned and start is None else None, start=start, threads=manifest.threads,
        command=f"veristream retrain rebuild {manifest.job_id}",
    )  # fmt: skip
    shutil.rmtree(scratch)
    return None if made is None else _grown(made, parent, manifest)


class Keeping:
    """Hands a run's checkpoint on, but not all the time.

    Args:
        keep: Takes the checkpoint's bytes.
    """

    def __init__(self, keep: Callable[[bytes], object]) -> None:
        self._keep = keep
        self._due = time.monotonic() + _KEPT_EVERY_S

    def __call__(self, path: Path, step: int) -> None:
        """A checkpoint was written."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _KEPT_EVERY_S
            self._keep(path.read_bytes())


def _grown(made: Bundle, parent: Bundle, manifest: DatasetManifest) -> Bundle:
    """The bundle with its parent named and dated as the job was, so that it can be made again."""
    named = made.manifest.model_copy(update={"parent": parent.digest, "created": manifest.created})
    return Bundle.build(named, {name: data for name, data in made.files.items() if name != MANIFEST})
