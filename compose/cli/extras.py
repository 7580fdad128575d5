"""Parts of the package that an extra brings are imported when a command needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stream.errors import ConfigurationError


def needing(extra: str, doing: str, module: str) -> Any:
    """Imports a module that needs an extra.

    Args:
        extra: The extra's name.
        doing: What the command does, as the message begins.
        module: What to import.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{doing} needs {error.name}", remedy=f"Install the extra: pip install 'veristream[{extra}]'."
        ) from error


def training(module: str) -> Any:
    """Imports a module that needs the `train` extra; see `needing`."""
    return needing("train", "Training", module)
