"""Weights from files: safetensors only, for a pickle runs whatever its maker wrote into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from stream.errors import ConfigurationError

SUFFIX = ".safetensors"
_CONSTANTS = {"mean", "deviation"}
_SHOWN = 3

UNUSED = "num_batches_tracked"
"""How torch names a counter that older files leave out and nothing here reads."""


def load(net: nn.Module, path: Path, ignored: Sequence[str] = ()) -> None:
    """Fills a network from a file of its own state.

    Args:
        net: The network; the input's normalisation may be missing from the file, and stays then.
        path: A ``.safetensors`` file.
        ignored: Prefixes of names that are left out.

    Raises:
        ConfigurationError: The file cannot be read, or it belongs to another network.
    """
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(f"The weights cannot be read: {error}", where=str(path)) from error
    stored = {name: value for name, value in stored.items() if not name.startswith(tuple(ignored))}
    expected = net.state_dict()
    absent = expected.keys() - stored.keys() - _CONSTANTS
    missing = sorted(name for name in absent if not name.endswith(UNUSED))
    foreign = sorted(stored.keys() - expected.keys())
    shapes = sorted(name for name in expected.keys() & stored.keys() if expected[name].shape != stored[name].shape)
    faults = (("missing", missing), ("not this network's", foreign), ("of another shape", shapes))
    found = [f"{what}: {', '.join(names[:_SHOWN])} ({len(names)} in all)" for what, names in faults if names]
    if found:
        raise ConfigurationError(
            f"The weights belong to another network; {'; '.join(found)}",
            where=str(path),
            remedy="Build the architecture with the options that the weights were trained with",
        )
    net.load_state_dict(stored, strict=False)
