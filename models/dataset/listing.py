"""The list of pictures behind a data manifest: gzipped JSON lines, the manifest first, then a row for each picture.

With it a version of the data can be found again and verified, on any machine that has the pictures.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.dataset.manifest import DataManifest, read
from models.dataset.policy import Reason
from models.dataset.survey import Advance, silent
from models.evaluation.pictures import Collection
from models.manifest import faults
from stream.errors import ConfigurationError
from stream.events import Sha256

_GZIP = b"\x1f\x8b"
_LARGEST = 1 << 30
_TOLD_EVERY = 256


class Row(BaseModel):
    """One picture; ``of`` is the SHA-256 of the picture that one which was dropped repeats or contradicts."""

    model_config = ConfigDict(frozen=True, extra="allow")

    collection: str
    path: str
    source: str
    sha256: Sha256
    stem: str = ""
    twin_of: str = ""
    licence: str = ""
    dropped: Reason | None = None
    of: Sha256 | None = None
    fault: Annotated[str, Field(description="Why one that is unreadable is")] = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of the pictures that were kept: paths, as ``COLLECTION: PATH``.

    ``moved`` pictures are there under another path, ``changed`` ones have other bytes under theirs, ``missing`` ones
    are nowhere; ``added`` counts pictures that the list does not know.
    """

    pictures: int
    moved: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: int

    @property
    def whole(self) -> bool:
        """Whether every picture is there."""
        return not self.changed and not self.missing


def encode(rows: Sequence[Row]) -> bytes:
    """The rows as JSON lines, sorted; equal rows give equal bytes."""
    ordered = sorted(rows, key=lambda row: (row.collection, row.path))
    lines = (json.dumps(row.model_dump(mode="json", exclude_defaults=True), sort_keys=True) for row in ordered)
    return "".join(f"{line}\n" for line in lines).encode()


def pack(manifest: DataManifest, rows: bytes) -> bytes:
    """The file: the manifest and its rows, compressed."""
    head = json.dumps(json.loads(manifest.to_bytes()), sort_keys=True).encode()
    return gzip.compress(head + b"\n" + rows, mtime=0)


def unpack(path: Path) -> tuple[DataManifest, list[Row]]:
    """Reads a list and checks that it is the one its manifest vouches for.

    Raises:
        ConfigurationError: It cannot be read, or has changed.
    """
    try:
        with gzip.open(path) as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ConfigurationError(f"The list is larger than {_LARGEST >> 20} MiB", where=str(path))
        head, _, body = text.partition(b"\n")
        manifest = DataManifest.from_bytes(head, where=str(path))
        if hashlib.sha256(body).hexdigest() != manifest.listing:
            raise ConfigurationError(
                "The list has changed since its manifest was made", where=str(path), remedy="Take an untouched copy."
            )
        return manifest, [Row.model_validate_json(line) for line in body.splitlines()]
    except ValidationError as error:
        raise ConfigurationError(f"A row of the list cannot be read: {faults(error)}", where=str(path)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(
            f"The list cannot be read: {error}", where=str(path), remedy="Give a file that `models data` wrote."
        ) from error


def manifest_of(path: Path) -> DataManifest:
    """The manifest in a ``data.json`` or at the head of a list: the parent of data that grows out of it.

    Raises:
        ConfigurationError: Neither, or a list that has changed.
    """
    data = read(path)
    return unpack(path)[0] if data.startswith(_GZIP) else DataManifest.from_bytes(data, where=str(path))


def verify(rows: Sequence[Row], collections: Sequence[Collection], advance: Advance = silent) -> Verified:
    """Compares the pictures of the collections with a list, by content.

    Raises:
        ConfigurationError: A zip breaks in its middle.
    """
    total = sum(len(collection.entries) for collection in collections)
    there: dict[tuple[str, str], str] = {}
    for collection in collections:
        for entry, item in zip(collection.entries, collection.items(), strict=True):
            there[collection.path.name, entry.path] = hashlib.sha256(item.data).hexdigest()
            if len(there) % _TOLD_EVERY == 0 or len(there) == total:
                advance("pictures", len(there), total)
    contents, known = set(there.values()), {row.sha256 for row in rows}
    kept = [row for row in rows if row.dropped is None]
    found: dict[str, list[str]] = {"moved": [], "changed": [], "missing": []}
    for row in kept:
        here = there.get((row.collection, row.path))
        if here != row.sha256:
            fate = "moved" if row.sha256 in contents else "missing" if here is None else "changed"
            found[fate].append(f"{row.collection}: {row.path}")
    return Verified(
        len(kept), tuple(found["moved"]), tuple(found["changed"]), tuple(found["missing"]), len(contents - known)
    )
