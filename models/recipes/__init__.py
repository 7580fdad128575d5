"""Recipes: what a training run is made of, as YAML beside this file or anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.manifest import faults
from stream.errors import ConfigurationError

_FOLDER = Path(__file__).parent


class Recipe(BaseModel):
    """One training run; every field is explained in ``default.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    seed: int = 1
    blocks: Annotated[int, Field(ge=1, le=16)] = 11
    crop: Annotated[int, Field(ge=32, le=176)] = 128
    crops: Annotated[int, Field(ge=1, le=16)] = 1
    variants: Annotated[int, Field(ge=1)] = 6
    strength: Annotated[float, Field(gt=0)] = 3e-3
    clip: Annotated[float, Field(gt=0)] = 6.0
    dimensions: Annotated[int, Field(ge=2)] = 64
    false_positive_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    false_negative_rate: Annotated[float, Field(gt=0, lt=1)] = 0.2
    folds: Annotated[int, Field(ge=2)] = 5


def names() -> tuple[str, ...]:
    """The recipes that ship."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load(recipe: str) -> Recipe:
    """Read a recipe by name, or from a ``.yaml`` file.

    Raises:
        ConfigurationError: there is none, or it cannot be read; the message names the fields.
    """
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else _FOLDER / f"{recipe}.yaml"
    if not path.is_file():
        raise ConfigurationError(
            f"There is no recipe {recipe!r}", remedy=f"Shipped: {', '.join(names())}; or give a .yaml file."
        )
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"The recipe is not YAML: {error}", where=str(path)) from error
    except ValidationError as error:
        raise ConfigurationError(f"The recipe cannot be used: {faults(error)}", where=str(path)) from error
