"""The frozen golden set: what the gate judges by, and no job may learn from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from models.bundle import MAX_BYTES
from models.evaluation.pictures import Collection, index
from stream.errors import BlobNotFound, ConfigurationError
from stream.ports import BlobStore


def golden(named: str, store: BlobStore, folder: Path) -> list[Collection]:
    """Lists the golden pictures; none where no set is named.

    Args:
        named: Path or URI of the zip, as ``VERISTREAM_RETRAIN__GOLDEN`` says it.
        store: Reads a URI.
        folder: Where a zip that was fetched is put; it must outlive the collection.

    Raises:
        ConfigurationError: It is not there, or no set of labelled pictures.
        BlobUnavailable: The store does not answer.
    """
    if not named:
        return []
    path = Path(named).expanduser()
    if "://" in named:
        path = folder / "golden.zip"
        try:
            path.write_bytes(store.read(named, limit=MAX_BYTES))
        except BlobNotFound as error:
            remedy = "See VERISTREAM_RETRAIN__GOLDEN"
            raise ConfigurationError("there is no golden set", where=named, remedy=remedy) from error
    return index([path])


def contents(named: str, store: BlobStore) -> frozenset[str]:
    """SHA-256 of every golden picture; arguments and errors as of `golden`."""
    with TemporaryDirectory(prefix="veristream-") as temporary:
        found = golden(named, store, Path(temporary))
        return frozenset(hashlib.sha256(item.data).hexdigest() for part in found for item in part.items())
