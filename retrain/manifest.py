"""What a job learned from, exactly: `manifest.json` in its folder.

It names every picture by content, the labels that decided and what they weighed, the parent, the seeds and the
libraries. With the zips that it vouches for, the same challenger can be made again (`retrain.jobs.rebuild`).
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError

from models.manifest import Canonical, faults
from retrain.labels import Origin
from retrain.selection import Frozen
from stream.errors import ConfigurationError
from stream.events import Position, Sha256, TruthName

Part = Literal["learn", "slice"]
_LIBRARIES = ("numpy", "onnx", "onnxruntime-gpu", "onnxruntime", "scipy", "pillow", "torch")


class Picture(Frozen):
    """One picture that was kept; ``path`` is its place in the zip of its part."""

    upload_id: str
    upload_at: Position | None
    path: str
    sha256: Sha256
    label: TruthName
    part: Part
    weight: float
    origin: Origin
    label_ids: tuple[str, ...]


class DatasetManifest(Frozen, Canonical):
    """The manifest; ``created`` is the time of the request, so that equal input gives an equal one."""

    format: Literal[1] = 1
    job_id: str
    kind: Literal["adapt", "train"]
    created: AwareDatetime
    parent: Annotated[str, Field(description="Digest of the champion")]
    seed: int
    held_out: float
    threads: int
    pictures: tuple[Picture, ...]
    counts: Annotated[dict[str, int], Field(description="What became of labels and pictures, by fate")]
    warnings: tuple[str, ...] = ()
    files: Annotated[dict[str, Sha256], Field(description="SHA-256 of the zips beside the manifest")]
    recipe: Annotated[str, Field(description="The recipe as JSON, for jobs of kind train")] = ""
    # These two are not written where they say nothing, and older manifests keep their digests.
    start: Annotated[
        Literal["recipe", "champion"],
        Field(description="Whose weights a job of kind train started from", exclude_if=lambda value: value == "recipe"),
    ] = "recipe"
    workers: Annotated[
        int,
        Field(description="Processes that a job of kind train learned in", exclude_if=lambda value: value == 1),
    ] = 1
    base: Annotated[dict[str, Sha256], Field(description="Zips that jobs of kind train also learned from")]
    libraries: dict[str, str]

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> Self:
        """Reads a manifest.

        Raises:
            ConfigurationError: Not JSON, or not a manifest this release reads; the message names the fields.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            remedy = "Give the manifest.json of a job's folder"
            raise ConfigurationError(
                f"this is no manifest of a job: {faults(error)}", where=where, remedy=remedy
            ) from error


def libraries() -> dict[str, str]:
    """Versions of what numbers depend on, and of Python."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
