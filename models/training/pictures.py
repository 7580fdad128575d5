"""Training pictures: labelled zips, whole in memory, with what is written about them in the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.evaluation.pictures import Item, index


@dataclass(frozen=True, slots=True)
class Archive:
    """One zip: its items and what is written about it in the manifest."""

    name: str
    sha256: str
    items: tuple[Item, ...]


def read(paths: Sequence[Path]) -> list[Archive]:
    """Read zips of ``real/SOURCE/…`` and ``fake/SOURCE/…``, files in order of name.

    Raises:
        ConfigurationError: not a zip, no pictures in it, or one class only in all of them together.
    """
    archives = []
    for collection in index(paths):
        with collection.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        archives.append(Archive(collection.path.name, digest, tuple(collection.items())))
    return archives
