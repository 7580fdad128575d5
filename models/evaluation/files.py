"""Writes results whole or not at all: everything lies beside its place before anything takes it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from stream.errors import ConfigurationError


def check(paths: Sequence[Path]) -> None:
    """Says before the work what would fail after it.

    Raises:
        ConfigurationError: A path is no file, is named twice, or its folder is missing or cannot be written to.
    """
    for path in paths:
        # What is no file, such as a folder or /dev/null, would be replaced by one.
        other = path.exists() and not path.is_file()
        if other or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise ConfigurationError("no file can be written there", where=str(path), remedy="Name a file in a folder.")
    if len(set(paths)) < len(paths):
        raise ConfigurationError("two results would go to one file", where=str(paths[0]))


def write(contents: Mapping[Path, str | bytes]) -> None:
    """Writes every file, text as UTF-8; on failure no file has changed and no draft is left.

    Raises:
        ConfigurationError: A file cannot be written.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            drafts[Path(name)] = path
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(content.encode() if isinstance(content, str) else content)
        for draft, path in drafts.items():
            draft.replace(path)
    except OSError as error:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        raise ConfigurationError(f"a result cannot be written: {error.strerror}", where=error.filename or "") from error
