"""Recipes: what a training run is made of, as YAML beside this file or anywhere else."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from models.manifest import faults
from models.recipes.fields import Common, Finetune, Frozen, Recipe
from stream.errors import ConfigurationError

_FOLDER = Path(__file__).parent
_RECIPES: TypeAdapter[Frozen | Finetune] = TypeAdapter(Recipe)
_ALIKE = 0.7
_KINDS = "`kind: frozen`, explained in default.yaml, or `kind: finetune`, explained in cifake-32.yaml"

__all__ = ["Common", "Finetune", "Frozen", "load", "names", "stated"]


def names() -> tuple[str, ...]:
    """The recipes that ship."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load(recipe: str) -> Frozen | Finetune:
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
        return _RECIPES.validate_python(yaml.safe_load(path.read_text()) or {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The recipe is not YAML: {error}", where=str(path)) from error
    except OSError as error:
        raise ConfigurationError(f"The recipe cannot be read: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        raise ConfigurationError(
            f"The recipe cannot be used: {faults(error)}", where=str(path), remedy=_remedy(error)
        ) from error


def _remedy(error: ValidationError) -> str:
    """Names the fields that unknown ones resemble; where there is none, where the fields are explained."""
    known = {*Frozen.model_fields, *Finetune.model_fields}
    unknown = [str(fault["loc"][-1]) for fault in error.errors() if fault["type"] == "extra_forbidden"]
    meant = [close[0] for name in unknown if (close := get_close_matches(name, known, 1, _ALIKE))]
    return f"Did you mean {', '.join(meant)}?" if meant else f"A recipe is {_KINDS}, both in {_FOLDER}."


def stated(recipe: str) -> Frozen | Finetune:
    """Reads a recipe that was written down as JSON.

    Raises:
        ConfigurationError: It is none that this release reads; the message names the fields.
    """
    try:
        return _RECIPES.validate_json(recipe)
    except ValidationError as error:
        raise ConfigurationError(f"The recipe that was written down cannot be used: {faults(error)}") from error
