"""Training pictures: zips in ImageFolder layout, read in place."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.errors import ConfigurationError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_LABELS = {"real": 0, "fake": 1}


@dataclass(frozen=True, slots=True)
class Item:
    """One training picture: 1 for machine-made, 0 for authentic; files of one ``stem`` belong together."""

    data: bytes
    label: int
    source: str
    stem: str


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
    archives = [_archive(path) for path in paths]
    labels = {item.label for archive in archives for item in archive.items}
    missing = [name for name, label in _LABELS.items() if label not in labels]
    if missing:
        raise ConfigurationError(
            f"There are no pictures under {missing[0]}/",
            where=", ".join(str(path) for path in paths),
            remedy="Training needs both classes: real/SOURCE/… and fake/SOURCE/….",
        )
    return archives


def _archive(path: Path) -> Archive:
    try:
        with zipfile.ZipFile(path) as archive:
            stems = _stems(archive)
            names = sorted(name for name in archive.namelist() if name.lower().endswith(_SUFFIXES))
            items = tuple(
                Item(archive.read(name), _LABELS[parts[0]], "/".join(parts[:2]), stems.get(name, parts[-1]))
                for name in names
                if (parts := name.split("/"))[0] in _LABELS and len(parts) > 2  # noqa: PLR2004 - label/source/file
            )
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"The training pictures cannot be read: {error}", where=str(path), remedy="Give a whole zip file."
        ) from error
    if not items:
        raise ConfigurationError(
            "There are no training pictures",
            where=str(path),
            remedy="The layout is real/SOURCE/picture.jpg and fake/SOURCE/picture.jpg.",
        )
    return Archive(path.name, digest, items)


def _stems(archive: zipfile.ZipFile) -> dict[str, str]:
    """Stem by file name from ``metadata.csv``, where the zip has one."""
    if "metadata.csv" not in archive.namelist():
        return {}
    rows = csv.DictReader(io.StringIO(archive.read("metadata.csv").decode()))
    return {row["file"]: row["stem"] for row in rows}
