"""The weights that a network was trained to, kept in its bundle so that training can go on from them: `weights.npz`.

The graph that ships does not lead back to them: batch norms are folded into convolutions, weights are rounded and often
quantised, and the head is stated anew. What a bundle learned by adaptation since lies in its graph only.

Plain arrays by parameter name, and the network they belong to as JSON; no pickle. Matrices and kernels are kept as
float16 where that holds them, which is what they ship in; norms, biases and statistics stay as they are.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.bundle import Bundle
from models.manifest import WEIGHTS
from models.networks.registry import architecture
from models.recipes import Finetune, Frozen
from models.training.checkpoints import Arrays
from models.training.scoring import Scoring
from stream.errors import BundleInvalid, ConfigurationError

_NETWORK = "network.json"
_LARGEST_HALF = float(np.finfo(np.float16).max)
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def pack(net: Scoring, recipe: Finetune) -> bytes:
    """The file of a network that is not fused yet; equal networks give equal bytes."""
    arrays = {name: _small(value.detach().cpu().numpy()) for name, value in net.state_dict().items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_NETWORK: np.frombuffer(_network(recipe).encode(), np.uint8)})  # type: ignore[arg-type]
    return buffer.getvalue()


def check(bundle: Bundle, recipe: Frozen | Finetune) -> None:
    """Says before a run whether a recipe can go on from a bundle's weights.

    Raises:
        ConfigurationError: The recipe trains no network or another one, or the bundle keeps no weights.
        BundleInvalid: They cannot be read.
    """
    if not isinstance(recipe, Finetune):
        what = f"the recipe {recipe.name} fits a head on frozen features, and has no weights to go on from"
        raise _refused(what, bundle, "take a recipe of kind finetune")
    _read(bundle, recipe)


@torch.no_grad()
def restore(net: Scoring, bundle: Bundle, recipe: Finetune) -> None:
    """Gives a network the weights, the head and the standardisation that a bundle keeps; raises what `check` raises."""
    stored = {name: torch.from_numpy(value) for name, value in _read(bundle, recipe).items()}
    try:
        net.load_state_dict(stored)
    except RuntimeError as error:
        raise _refused("the weights belong to another network", bundle, "take the recipe it was trained by") from error


def _read(bundle: Bundle, recipe: Finetune) -> Arrays:
    if WEIGHTS not in bundle.files:
        what = "the bundle keeps no weights to go on from; those trained by a finetune recipe of this release do"
        raise _refused(what, bundle, "train one from the recipe's own start first")
    try:
        with np.load(io.BytesIO(bundle.files[WEIGHTS]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        network = arrays.pop(_NETWORK).tobytes().decode()
    except _BROKEN as error:
        raise BundleInvalid(f"{WEIGHTS} cannot be read: {error}", where=bundle.digest) from error
    if network != _network(recipe):
        what = f"the bundle's weights are of {network}, the recipe {recipe.name} trains {_network(recipe)}"
        raise _refused(what, bundle, "take the recipe it was trained by")
    return arrays


def _network(recipe: Finetune) -> str:
    """The architecture and all its options, those that were left out included."""
    options = architecture(recipe.architecture).options.model_validate(recipe.options)
    return json.dumps({"architecture": recipe.architecture, **options.model_dump(mode="json")}, sort_keys=True)


def _small(value: NDArray[Any]) -> NDArray[Any]:
    halves = value.dtype == np.float32 and value.ndim > 1 and np.abs(value).max(initial=0) <= _LARGEST_HALF
    return value.astype(np.float16) if halves else value


def _refused(what: str, bundle: Bundle, other: str) -> ConfigurationError:
    remedy = f"Start from the recipe's own weights (VERISTREAM_RETRAIN__START=recipe; no --start), or {other}"
    return ConfigurationError(what, where=bundle.digest, remedy=remedy)
