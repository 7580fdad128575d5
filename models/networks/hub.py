"""Weights as the Hugging Face hub keeps them: a folder of ``config.json`` and safetensors, or a name to fetch one by.

Only safetensors are read: a pickle runs whatever its maker wrote into it, and no code of a model's folder is run.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from models.networks.architecture import Options, unknown_weights
from models.networks.backbone import IMAGENET_DEVIATION, IMAGENET_MEAN
from models.networks.weights import UNUSED
from stream.errors import ConfigurationError

_WANTED = ("config.json", "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json")
_EXTRA = "pip install 'veristream[backbones]'"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What a network was trained to have taken off its pixels, in 0..1, and what they were divided by."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    deviation: tuple[float, ...] = IMAGENET_DEVIATION


def folder(name: str, weights: str | Path, published: Mapping[str, str]) -> Path:
    """Finds a folder of weights on this machine, or fetches it.

    Args:
        name: The architecture's, for errors.
        weights: A published word, a folder, or ``owner/model`` on the hub.
        published: Hub names by word.

    Raises:
        ConfigurationError: There is none, it cannot be fetched, or it holds no safetensors.
    """
    weights = published.get(str(weights), weights)
    found = Path(weights)
    if not found.is_dir():
        if isinstance(weights, Path) or str(weights).count("/") != 1:
            raise unknown_weights(name, weights, {**published, "a folder": "config.json and model.safetensors"})
        found = _fetch(str(weights))
    if not (found / "config.json").is_file() or not any(found.glob("*.safetensors")):
        what = "The folder does not hold a config.json and weights as .safetensors"
        raise ConfigurationError(
            what, where=str(found), remedy="Pickled weights (.bin, .pt) are not read: convert them"
        )
    return found


def _fetch(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - an optional extra, and slow to import
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError("Fetching weights needs the extra 'backbones'", remedy=_EXTRA) from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(
            f"The weights cannot be fetched: {reason}",
            where=f"huggingface.co/{name}",
            remedy="Fetch them where the hub can be reached and give their folder as weights",
        ) from error


def modelling(module: str, *names: str) -> list[Any]:
    """Classes out of one of transformers' modules, imported only now.

    Raises:
        ConfigurationError: transformers is not installed.
    """
    try:
        found = importlib.import_module(f"transformers.models.{module}")
    except ModuleNotFoundError as error:
        raise ConfigurationError("This architecture needs the extra 'backbones'", remedy=_EXTRA) from error
    return [getattr(found, name) for name in names]


def refuse_shape(name: str, options: Options, free: Collection[str]) -> None:
    """Refuses options about the network's shape beside weights, whose folder says what shape they have.

    Raises:
        ConfigurationError: One was given; ``free`` are those that may be.
    """
    given = sorted(options.model_fields_set - set(free))
    if given:
        what = f"{name} with weights from a folder takes its shape from there, not from {', '.join(given)}"
        raise ConfigurationError(what, remedy=f"Leave those out; {' and '.join(sorted(free))} may be given")


def impossible(name: str, error: Exception) -> ConfigurationError:
    """The error for a shape that the network's own code refuses."""
    return ConfigurationError(f"{name} cannot be built so: {error}", remedy="Give widths that its parts can divide")


def config(found: Path) -> dict[str, Any]:
    """A folder's ``config.json``.

    Raises:
        ConfigurationError: It is not a JSON object.
    """
    path = found / "config.json"
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The network's shape cannot be read: {error}", where=str(path)) from error
    if not isinstance(told, dict):
        raise ConfigurationError("The network's shape is not a JSON object", where=str(path))
    return told


def load(model: Any, found: Path, types: Collection[str], **given: Any) -> Any:
    """A network of transformers with a folder's shape and weights, in float32.

    Args:
        model: Its class.
        found: As `folder` gives it.
        types: What the folder's config may call its model.
        given: To its class.

    Raises:
        ConfigurationError: It is another kind of model, a weight is missing, or a file cannot be read.
    """
    where = str(found)
    kind = config(found).get("model_type")
    if kind not in types:
        raise ConfigurationError(f"The folder holds a model of type {kind!r}, not {' or '.join(types)}", where=where)
    try:
        net, loading = model.from_pretrained(
            found, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **given
        )  # fmt: skip
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ConfigurationError(f"The weights cannot be read: {error}", where=where) from error
    missing = sorted(key for key in loading["missing_keys"] if not key.endswith(UNUSED))
    if missing:
        shown = ", ".join(missing[:_SHOWN])
        raise ConfigurationError(
            f"The weights are not whole: {shown} and so on, {len(missing)} are missing", where=where
        )
    return net


def normalisation(found: Path, default: Normalisation) -> Normalisation:
    """What a folder's ``preprocessor_config.json`` says of mean and deviation; the default where it says nothing."""
    path = found / "preprocessor_config.json"
    if not path.is_file():
        return default
    try:
        told = json.loads(path.read_text())
        return Normalisation(
            tuple(map(float, told.get("image_mean", default.mean))),
            tuple(map(float, told.get("image_std", default.deviation))),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"The folder's normalisation cannot be read: {error}", where=str(path)) from error
