"""Training a network by gradient descent, from pictures to a bundle: the order of things, and nothing else.

On CPUs equal recipe, data, threads and processes give an equal model, resumed or not.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.bundle import Bundle
from models.dataset.manifest import DataManifest
from models.dataset.weights import label_weights, source_weights
from models.evaluation.pictures import Item
from models.networks.backbone import Backbone
from models.networks.registry import build
from models.recipes import Finetune
from models.training import closing, loop, pictures, split
from models.training import weights as trained_weights
from models.training.augmentation import Augment, augmentation
from models.training.batches import Batches
from models.training.checkpoints import Checkpoints, Told, nobody
from models.training.intake import Intake, take_in
from models.training.progress import SILENT, Listener
from models.training.ranks import Ranks, joined
from models.training.schedule import optimiser
from models.training.scoring import Average, Scoring
from models.training.served import Validation
from models.training.state import State
from models.training.store import KEPT_BYTES, Store
from stream.errors import ConfigurationError

Device = Literal["auto", "cpu", "cuda"]

_SAMPLED = 256


def train(
    data: Sequence[Path],
    out: Path,
    recipe: Finetune,
    *,
    checkpoints: Path,
    test: Path | None = None,
    resume: bool = False,
    every: int = 200,
    device: Device = "auto",
    weights: Path | None = None,
    start: Bundle | None = None,
    parent: DataManifest | None = None,
    threads: int = 2,
    command: str = "",
    listener: Listener = SILENT,
    told: Told = nobody,
) -> Bundle | None:
    """Train a bundle.

    Args:
        data: Zips and folders in ImageFolder layout.
        out: The bundle's folder, which must not exist yet.
        recipe: The run.
        checkpoints: Folder of the run's checkpoint, which is removed when the bundle is written.
        test: A zip or folder measured apart; nothing is fitted on it.
        resume: Go on from the checkpoint.
        every: Steps between two checkpoints; there is one after every validation as well.
        device: What to compute on.
        weights: Folder of the weights to start from, for a recipe that names none or in place of those it names.
        start: Bundle whose weights to go on from, in place of either.
        parent: The manifest of the data that these pictures grew out of.
        threads: Of torch, of ONNX Runtime and of what makes batches.
        command: What the card gives as the way to make it again.
        listener: Is told what is going on.
        told: Is told of every checkpoint, on every process.

    Returns:
        The bundle written to ``out``; None on every process but the first.

    Raises:
        ConfigurationError: The pictures, the recipe or the checkpoint cannot be used.
        ModelError: The loss or a score is no number.
        BundleInvalid: ``out`` is there already.
    """
    if recipe.weights == "folder" and weights is None and start is None:
        raise ConfigurationError(
            f"the recipe {recipe.name} starts from weights that are not shipped",
            where="--weights",
            remedy="Name the folder they were saved to.",
        )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with joined(device) as ranks:
            listener = listener if ranks.first else SILENT
            state = _state(recipe, ranks, weights, start)
            apart = pictures.read([test]) if test else []
            taken = take_in(data, recipe, parent=parent, listener=listener)
            labels, sources, items = taken.dataset.labels, taken.dataset.sources, taken.items
            kept = split.validation(labels, taken.dataset.groups, recipe.validation, recipe.seed)
            worth = label_weights(items)
            kept_checkpoints = Checkpoints(checkpoints, _name(recipe, taken, worth, start), every, told)
            chosen = [item for item, held in zip(items, kept, strict=True) if not held]
            held_out = [item for item, held in zip(items, kept, strict=True) if held]
            if not resume:
                kept_checkpoints.refuse_old()
            store = Store(chosen, threads=threads, listener=listener)
            augment = augmentation(recipe.augmentation, size=recipe.crop, seed=recipe.seed)
            if resume:
                state.restore(*kept_checkpoints.read())
            elif start is None and (recipe.weights != "none" or weights is not None):
                state.net.standardise(_sample(store, augment, recipe).to(ranks.device), listener)
                state.average = Average(state.net, recipe.average)
            weighed = source_weights(labels[~kept], sources[~kept], worth=worth[~kept])
            batches = Batches(
                store, labels[~kept], weighed, recipe, augment, rank=ranks.rank, count=ranks.count
            )  # fmt: skip
            loop.train(
                state, batches, recipe, _validation(held_out, recipe, ranks),
                ranks=ranks, checkpoints=kept_checkpoints, listener=listener, threads=threads,
            )  # fmt: skip
            if not ranks.first:
                return None
            trained = closing.Trained(_best(state), taken, kept, state, start.digest if start else None)
            bundle = closing.close(
                trained, recipe, out, apart=apart, threads=threads, command=command, listener=listener
            )  # fmt: skip
            kept_checkpoints.remove()
            return bundle
    finally:
        torch.set_num_threads(before)


def _name(recipe: Finetune, taken: Intake, worth: NDArray[np.float64], start: Bundle | None) -> str:
    """What tells this run from others."""
    parts = [recipe.model_dump_json(), taken.dataset.manifest.sha256, hashlib.sha256(worth.tobytes()).hexdigest()]
    parts += [start.digest] if start else []
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _state(recipe: Finetune, ranks: Ranks, weights: Path | None, start: Bundle | None) -> State:
    torch.manual_seed(recipe.seed)
    named = None if recipe.weights == "none" or start else recipe.weights
    backbone: Backbone = build(recipe.architecture, weights=weights or named, **recipe.options)
    if backbone.side not in (None, recipe.crop):
        raise ConfigurationError(
            f"{recipe.architecture} takes crops of {backbone.side} pixels, not {recipe.crop}", where="crop"
        )
    backbone.thaw()
    loop.autocast(recipe.precision, ranks.device)
    net = Scoring(backbone)
    if start is not None:
        trained_weights.restore(net, start, recipe)
    net = net.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    scaler = torch.amp.GradScaler(ranks.device.type, enabled=recipe.precision == "fp16")
    return State(net, Average(net, recipe.average), optimiser(net.backbone, net.head, recipe), scaler)


def _sample(store: Store, augment: Augment, recipe: Finetune) -> torch.Tensor:
    """Augmented crops of pictures spread over the training set."""
    numbers = np.unique(np.linspace(0, len(store) - 1, _SAMPLED).astype(int))
    return torch.from_numpy(augment(store, numbers.tolist(), 0, 0))


def _validation(items: Sequence[Item], recipe: Finetune, ranks: Ranks) -> Validation:
    return Validation(
        items, recipe.tiers, size=recipe.crop, count=recipe.crops,
        cast=loop.autocast(recipe.precision, ranks.device), device=ranks.device, kept_bytes=KEPT_BYTES,
    )  # fmt: skip


def _best(state: State) -> Scoring:
    """The average as it was at its best validation."""
    net = copy.deepcopy(state.average.net)
    net.load_state_dict(state.chosen)
    return net.cpu().eval()
