"""Labelled pictures in ImageFolder layout, ``real/[SOURCE/]…`` and ``fake/[SOURCE/]…``, in zips or folders.

A ``metadata.csv`` at the top may say more of a file: ``stem`` (files of one stem belong together), ``twin_of`` (the
source of the photograph that a picture was reconstructed from), ``generator``, ``weight`` (what its label is worth to
whoever learns from it), and what the picture was before it was cut (``original_format``, ``original_width``,
``original_height``).
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stream.errors import ConfigurationError

UNNAMED = "unnamed"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_LABELS = {"real": 0, "fake": 1}
_METADATA = "metadata.csv"
_BROKEN = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture: 1 for machine-made, 0 for authentic; ``source`` is ``real/NAME`` or ``fake/NAME``."""

    data: bytes
    label: int
    source: str
    stem: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that has not been read yet."""

    path: str
    label: int
    source: str


@dataclass(frozen=True, slots=True)
class Collection:
    """The pictures of one zip or folder, in order of name. Make it with `index`."""

    path: Path
    entries: tuple[Entry, ...]
    facts: Mapping[str, Mapping[str, str]]

    def items(self) -> Iterator[Item]:
        """Reads the pictures one by one.

        Raises:
            ConfigurationError: One of them cannot be read any more, or the zip is broken in its middle.
        """
        try:
            if self.path.is_dir():
                yield from self._read(lambda name: (self.path / name).read_bytes())
            else:
                with zipfile.ZipFile(self.path) as archive:
                    yield from self._read(archive.read)
        except _BROKEN as error:
            raise _unreadable(self.path, error) from error

    def _read(self, read: Callable[[str], bytes]) -> Iterator[Item]:
        for entry in self.entries:
            facts = self.facts.get(entry.path, {})
            stem = facts.get("stem") or entry.path.rpartition("/")[2]
            yield Item(read(entry.path), entry.label, entry.source, stem, facts)


def index(paths: Sequence[Path]) -> list[Collection]:
    """Lists the labelled pictures of zips and folders without reading them.

    Raises:
        ConfigurationError: A path is neither a whole zip nor a folder, one holds no labelled picture, or there is one
            class only in all of them together.
    """
    collections = [_index(path) for path in paths]
    for name in _LABELS:
        _require(name, collections, "Both classes are needed: real/SOURCE/… and fake/SOURCE/….")
    return collections


def photographs(paths: Sequence[Path]) -> list[Collection]:
    """Lists the authentic pictures of zips and folders, which need not hold any other.

    Raises:
        ConfigurationError: A path is neither a whole zip nor a folder, or there is no picture under ``real/``.
    """
    collections = [_index(path) for path in paths]
    _require("real", collections, "The layout is real/SOURCE/picture.jpg.")
    return [
        replace(collection, entries=tuple(entry for entry in collection.entries if entry.label == _LABELS["real"]))
        for collection in collections
    ]


def sampled(collections: Sequence[Collection], per_source: int, *, seed: int) -> list[Collection]:
    """The same collections with at most ``per_source`` pictures of every source, drawn at random by the seed."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, collection in enumerate(collections):
        for place, entry in enumerate(collection.entries):
            places[entry.source].append((number, place))
    rng = np.random.default_rng(seed)
    kept = {
        members[chosen]
        for _, members in sorted(places.items())
        for chosen in rng.choice(len(members), min(per_source, len(members)), replace=False)
    }
    return [
        replace(
            collection,
            entries=tuple(entry for place, entry in enumerate(collection.entries) if (number, place) in kept),
        )
        for number, collection in enumerate(collections)
    ]


def _require(name: str, collections: Sequence[Collection], remedy: str) -> None:
    if not any(entry.label == _LABELS[name] for collection in collections for entry in collection.entries):
        where = ", ".join(str(collection.path) for collection in collections)
        raise ConfigurationError(f"There are no pictures under {name}/", where=where, remedy=remedy)


def _index(path: Path) -> Collection:
    try:
        if path.is_dir():
            names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
            facts = _facts((path / _METADATA).read_bytes() if _METADATA in names else b"")
        else:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                facts = _facts(archive.read(_METADATA) if _METADATA in names else b"")
    except (*_BROKEN, csv.Error) as error:
        raise _unreadable(path, error) from error
    entries = tuple(entry for name in sorted(names) if (entry := _entry(name)))
    if not entries:
        raise ConfigurationError(
            "There are no labelled pictures",
            where=str(path),
            remedy="The layout is real/SOURCE/picture.jpg and fake/SOURCE/picture.jpg.",
        )
    return Collection(path, entries, facts)


def _entry(name: str) -> Entry | None:
    label, *middle, _ = name.split("/") if "/" in name else ("", "")
    if label not in _LABELS or not name.lower().endswith(_SUFFIXES):
        return None
    return Entry(name, _LABELS[label], f"{label}/{middle[0] if middle else UNNAMED}")


def _facts(table: bytes) -> dict[str, dict[str, str]]:
    rows = csv.DictReader(io.StringIO(table.decode()))
    return {
        row["file"]: {name: value for name, value in row.items() if name and value} for row in rows if row.get("file")
    }


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The pictures cannot be read: {error}", where=str(path), remedy="Give a whole zip file or a folder."
    )
