"""What the registry knows of an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.networks.backbone import Backbone
from stream.errors import ConfigurationError

Weights = str | Path | None
"""None for random weights, a published name such as ``imagenet``, a file, a folder, or a name on a model hub."""


class Options(BaseModel):
    """What an architecture can be told; each has its own fields, all with defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Architecture:
    """One entry of the registry.

    Attributes:
        name: How recipes name it.
        summary: One line on what it is.
        options: The model of its options.
        make: Makes it from checked options and weights. A ``.safetensors`` file of the network's own state is read by
            `models.networks.registry.build` and never reaches it.
        tiny: Options of a network so small that tests can train it.
        published: Weights known by a word, and where they come from.
        ignored: Prefixes of names in a weights file that belong to a head this project does not use.
    """

    name: str
    summary: str
    options: type[Options]
    make: Callable[[Any, Weights], Backbone]
    tiny: Mapping[str, object]
    published: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def unknown_weights(name: str, weights: Weights, published: Mapping[str, str]) -> ConfigurationError:
    """The error for weights that an architecture does not have."""
    choices = [f"{word!r} ({source})" for word, source in published.items()] + ["a .safetensors file of its own state"]
    return ConfigurationError(f"{name} has no weights {str(weights)!r}", remedy=f"Give {' or '.join(choices)}")
