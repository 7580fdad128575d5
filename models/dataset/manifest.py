"""What a model was trained on, exactly: ``data.json`` in the bundle, and the list of pictures it vouches for.

``data.json`` is small: roots, counts and findings. The root of some pictures is the SHA-256 of their sorted SHA-256s,
one hexadecimal digest a line. The list (`models.dataset.listing`) names every picture; its digest stands here. The
digest of ``data.json`` names the set of data; a set that grew out of another names that as its parent.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from models.dataset.policy import Policy, Reason
from models.manifest import Canonical, Section, faults, sha256
from stream.errors import ConfigurationError
from stream.events import Sha256, TruthName


class Source(Section):
    """The pictures of one source that were kept."""

    name: str
    label: TruthName
    pictures: int
    sha256: Annotated[Sha256, Field(description="Root of its pictures")]
    licences: Annotated[dict[str, int], Field(description="Pictures by licence; an empty one where none is stated")]


class Left(Section):
    """The pictures left out for one reason."""

    pictures: int
    sha256: Annotated[Sha256, Field(description="Root of these pictures")]


class Finding(Section):
    """One probe's result, as it was when the set was checked."""

    balanced_accuracy: float | None
    lower: float | None
    pictures: int
    outcome: str


class DataManifest(Section, Canonical):
    """The manifest of a set of pictures; see the module."""

    format: Literal[1] = 1
    collections: Annotated[dict[str, int], Field(description="Pictures found, by name of zip or folder")]
    pictures: int
    sha256: Annotated[Sha256, Field(description="Root of all that were kept")]
    sources: tuple[Source, ...]
    dropped: dict[Reason, Left]
    policy: Policy
    probes: dict[str, Finding]
    parent: Annotated[Sha256 | None, Field(description="Digest of the manifest this set grew out of")] = None
    listing: Annotated[Sha256, Field(description="SHA-256 of the list's rows, uncompressed")]

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> Self:
        """Reads a manifest.

        Raises:
            ConfigurationError: Not JSON, or not a manifest this release reads; the message names the fields.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ConfigurationError(
                f"This is no data manifest: {faults(error)}",
                where=where,
                remedy="Give a bundle's data.json, or a file that `models data --manifest` wrote.",
            ) from error


def root(digests: Iterable[str]) -> str:
    """SHA-256 over the sorted digests, one a line: the same for the same pictures in any order."""
    return sha256("".join(f"{digest}\n" for digest in sorted(digests)).encode())


def read(path: Path) -> bytes:
    """The bytes of a manifest or a list.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
