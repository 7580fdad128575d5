"""Training pictures: labelled zips and folders, whole in memory, and what is written about them in the manifest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.evaluation.pictures import Collection, Item, index
from models.manifest import TrainingSource, sha256
from stream.events import TruthName

Use = Literal["train", "validation", "calibration", "test"]


@dataclass(frozen=True, slots=True)
class Archive:
    """One zip or folder: its items and what is written about it in the manifest."""

    name: str
    sha256: str
    items: tuple[Item, ...]


def read(paths: Sequence[Path]) -> list[Archive]:
    """Read zips and folders of ``real/SOURCE/…`` and ``fake/SOURCE/…``, files in order of name.

    Raises:
        ConfigurationError: neither a zip nor a folder, no pictures in it, or one class only in all of them together.
    """
    return gather(index(paths))


def gather(collections: Sequence[Collection]) -> list[Archive]:
    """Reads the pictures of collections.

    Raises:
        ConfigurationError: One cannot be read any more.
    """
    archives = []
    for collection in collections:
        items = tuple(collection.items())
        if collection.path.is_dir():
            digest = sha256("\n".join(sorted(sha256(item.data) for item in items)).encode())
        else:
            with collection.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        archives.append(Archive(collection.path.name, digest, items))
    return archives


def sources(
    archives: Sequence[Archive], used_for: Use, chosen: Sequence[bool] | None = None
) -> tuple[TrainingSource, ...]:
    """What the manifest says of them: every source of every archive, with how many pictures served what.

    Args:
        archives: What was read.
        used_for: What the pictures served.
        chosen: Marks them among all items, in order; None for all.
    """
    found = []
    marks = iter(chosen if chosen is not None else (True for archive in archives for _ in archive.items))
    for archive in archives:
        counts = Counter(item.source for item, mark in zip(archive.items, marks, strict=False) if mark)
        for source in sorted(counts):
            label: TruthName = "ai_generated" if source.startswith("fake/") else "authentic"
            found.append(
                TrainingSource(
                    name=source, label=label, used_for=used_for, pictures=counts[source], sha256=archive.sha256
                )
            )
    return tuple(found)
