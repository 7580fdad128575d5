"""Every architecture, by name: what it can be told, what weights it has, how it is made."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from models.manifest import faults
from models.networks import convnets, efficientnet_lite, forensic_small, residual, two_scales, vgg, vision_transformers
from models.networks import weights as files
from models.networks.architecture import Architecture, Weights
from models.networks.backbone import Backbone
from stream.errors import ConfigurationError

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({
    known.name: known
    for module in (efficientnet_lite, two_scales, forensic_small, residual, convnets, vision_transformers, vgg)
    for known in module.ARCHITECTURES
})  # fmt: skip


def build(name: str, weights: Weights = None, **options: object) -> Backbone:
    """Makes a backbone.

    Args:
        name: One of `ARCHITECTURES`.
        weights: None for random ones; a name that the architecture publishes, as ``imagenet``; a ``.safetensors`` file
            of this network's own state; for the architectures that come through transformers also a folder, or a name
            on the Hugging Face hub.
        options: Of the architecture; its ``options`` model lists them.

    Returns:
        The backbone, in training mode, every parameter trainable.

    Raises:
        ConfigurationError: No such architecture, option or weights, or a package is missing.
    """
    known = architecture(name)
    try:
        checked = known.options.model_validate(options)
    except ValidationError as error:
        remedy = f"It can be told: {', '.join(known.options.model_fields)}"
        raise ConfigurationError(f"{name} cannot be built so: {faults(error)}", remedy=remedy) from error
    if weights is not None and str(weights).endswith(files.SUFFIX):
        net = known.make(checked, None)
        files.load(net, Path(weights), known.ignored)
    else:
        net = known.make(checked, weights)
    return net


def architecture(name: str) -> Architecture:
    """The entry of a name.

    Raises:
        ConfigurationError: There is none.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    close = get_close_matches(name, ARCHITECTURES, 1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    remedy = f"{hint}There are: {', '.join(ARCHITECTURES)}"
    raise ConfigurationError(f"There is no architecture {name!r}", remedy=remedy)
