"""A job's folder in the blob store, and the stages that lie finished in it.

A stage's files are written first and then its record, which holds their SHA-256 and that of everything they were made
from. A job that was killed finds the record and goes on behind it; where the record does not fit, the stage is done
again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from models.bundle import MAX_BYTES
from retrain.selection import Frozen
from stream.errors import BlobNotFound, JobFailed
from stream.ports import VersionedStore

REQUEST, LABELS, MANIFEST, OUTCOME = "request.json", "labels.json", "manifest.json", "outcome.json"
PICTURES, SLICE, CHALLENGER = "pictures.zip", "slice.zip", "challenger.tar"
_MEDIA_TYPES = {
    "json": "application/json",
    "zip": "application/zip",
    "tar": "application/x-tar",
    "npz": "application/zip",
}

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Made:
    """What a stage leaves: files by name, and figures."""

    files: Mapping[str, bytes]
    figures: Mapping[str, float] = field(default_factory=dict)


class Stage(Frozen):
    """The record of a finished stage; ``made_from`` and ``files`` are SHA-256s."""

    name: str
    made_from: str
    files: dict[str, str]
    figures: dict[str, float]


class JobFolder:
    """``jobs/<id>/`` in a blob store.

    Args:
        store: The store.
        job_id: The job.
    """

    def __init__(self, store: VersionedStore, job_id: str) -> None:
        self._store = store
        self.job_id = job_id

    def uri(self, name: str) -> str:
        """Where a file of the job lies."""
        return self._store.uri(self._place(name))

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none.

        Raises:
            BlobUnavailable, BlobForbidden: As named.
        """
        try:
            return self._store.read(self.uri(name), limit=MAX_BYTES)
        except BlobNotFound:
            return None

    def write(self, name: str, data: bytes) -> str:
        """Stores a file whole and returns its URI."""
        return self._store.write(self._place(name), data, media_type=_MEDIA_TYPES[name.rpartition(".")[2]])

    def read_as(self, name: str, kind: type[M]) -> M | None:
        """Reads a JSON file of the job; None where there is none.

        Raises:
            JobFailed: It is not such a file.
        """
        data = self.read(name)
        try:
            return None if data is None else kind.model_validate_json(data)
        except ValidationError as error:
            what = f"{name} is no {kind.__name__}"
            raise JobFailed(what, where=self.uri(name), remedy="Remove the job's folder") from error

    def require(self, name: str, kind: type[M]) -> M:
        """As `read_as`, of a file that must be there.

        Raises:
            JobFailed: It is not there, or not such a file.
        """
        found = self.read_as(name, kind)
        if found is None:
            raise JobFailed(f"the job has no {name}", where=self.uri(name), remedy="Open the job first")
        return found

    def stage(
        self, name: str, made_from: Mapping[str, str], make: Callable[[], Made]
    ) -> tuple[Stage, dict[str, bytes]]:
        """Does a stage, unless it lies finished.

        Args:
            name: Of the stage.
            made_from: Digests and values of all that it is made from.
            make: Does it.

        Returns:
            The record and the stage's files.
        """
        origin = sha256(json.dumps(made_from, sort_keys=True).encode())
        record = f"stage-{name}.json"
        before = self.read_as(record, Stage)
        if before is not None and before.made_from == origin:
            files = {file: self.read(file) for file in before.files}
            whole = {
                file: data for file, data in files.items() if data is not None and sha256(data) == before.files[file]
            }
            if len(whole) == len(before.files):
                return before, whole
        made = make()
        for file, data in made.files.items():
            self.write(file, data)
        done = Stage(
            name=name, made_from=origin, files={file: sha256(data) for file, data in made.files.items()},
            figures=dict(made.figures),
        )  # fmt: skip
        self.write(record, done.model_dump_json(indent=1).encode())
        return done, dict(made.files)

    def _place(self, name: str) -> str:
        return f"jobs/{self.job_id}/{name}"


def sha256(data: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(data).hexdigest()
