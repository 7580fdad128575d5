"""Parts of the package that an extra brings are imported when a command needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stream.errors import ConfigurationError


def training(module: str) -> Any:
    """Imports a module that needs the `train` extra.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Training needs {error.name}", remedy="Install the extra: pip install 'veristream[train]'."
        ) from error
