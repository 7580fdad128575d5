"""A model as something that can be moved, checked and named: the bundle.

A bundle is a folder, or that folder's tar (plain or gzip), of flat files: `manifest.json`, `model.onnx`,
`calibration.json` and `MODEL_CARD.md`, with `reference.npz`, `replay.npz` and `optimisation.json` where they exist. Its
digest, the SHA-256 of the manifest's bytes, covers every byte of every file.

Everything is read into memory once and checked before anything is loaded, so what was hashed is what runs. Refused:
files the manifest does not list, or lists and are not there, or that changed; links, folders and paths in a tar; model
data outside the model's file; pickles in the reference.
"""

import io
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from models.calibration import Calibration
from models.manifest import CALIBRATION, MANIFEST, MODEL, OPTIMISATION, OPTIONAL, REFERENCE, REQUIRED, Manifest, sha256
from models.onnxfile import refuse_outside_data
from models.optimisation.report import Optimisation
from stream.errors import BundleInvalid

MAX_BYTES = 4 << 30  # an ONNX file ends at 2 GiB, and what training goes on from may be as large
_GZIP = b"\x1f\x8b"
_DIGEST_LENGTH = 64
_SHIPPED = Path(__file__).parent / "bundles"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle, in memory. Make one with `open`, `unpack`, `build`, `write` or `default`."""

    digest: str
    manifest: Manifest
    calibration: Calibration
    files: Mapping[str, bytes]

    @property
    def model(self) -> bytes:
        """The ONNX file."""
        return self.files[MODEL]

    @property
    def optimisation(self) -> Optimisation | None:
        """What was measured of it and how to run it; None where nothing was.

        Raises:
            BundleInvalid: `optimisation.json` cannot be read.
        """
        data = self.files.get(OPTIMISATION)
        return None if data is None else Optimisation.from_json(data, where=self.digest)

    def reference(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of `reference.npz`, by name; empty where the bundle has none.

        Raises:
            BundleInvalid: Not an npz of plain arrays; pickled objects are never loaded.
        """
        if REFERENCE not in self.files:
            return {}
        try:
            with np.load(io.BytesIO(self.files[REFERENCE]), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleInvalid(f"{REFERENCE} is not a set of plain arrays: {error}", where=self.digest) from error

    def pack(self) -> bytes:
        """The bundle as an uncompressed tar; equal bundles give equal bytes."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in (MANIFEST, *sorted(self.manifest.files)):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(self.files[name]), 0o644
                tar.addfile(member, io.BytesIO(self.files[name]))
        return buffer.getvalue()

    @classmethod
    def open(cls, path: Path | str, *, digest: str | None = None) -> Self:
        """Reads a bundle from a folder or a tar file.

        Args:
            path: The folder or the tar.
            digest: The digest it must have; a folder whose name is a digest must have that one in any case.

        Raises:
            BundleInvalid: Missing, changed, or holding something that is refused; the message names the file.
        """
        path, where = Path(path), str(path)
        try:
            if path.is_dir():
                named = path.name if len(path.name) == _DIGEST_LENGTH else None
                return cls._checked(_read_folder(path), where, digest or named)
            if path.stat().st_size > MAX_BYTES:
                raise _too_large(where)
            return cls.unpack(path.read_bytes(), digest=digest, where=where)
        except OSError as error:
            raise BundleInvalid(f"no bundle can be read: {error.strerror or error}", where=where) from error

    @classmethod
    def unpack(cls, data: bytes, *, digest: str | None = None, where: str = "tar") -> Self:
        """Reads a bundle from the bytes of its tar; see `open` for what is refused."""
        return cls._checked(_read_tar(data, where), where, digest)

    @classmethod
    def build(cls, manifest: Manifest, files: Mapping[str, bytes]) -> Self:
        """Makes a bundle in memory: fills the manifest's ``files`` and checks the whole as `open` would.

        Raises:
            BundleInvalid: A required file is missing, one is not a bundle's, or one would be refused when opened.
        """
        digests = {name: sha256(data) for name, data in sorted(files.items())}
        sealed = manifest.model_copy(update={"files": digests})
        return cls._checked({**files, MANIFEST: sealed.to_bytes()}, manifest.name, None)

    @classmethod
    def write(cls, folder: Path | str, manifest: Manifest, files: Mapping[str, bytes]) -> Self:
        """Makes a bundle and writes it to ``folder``, whole or not at all.

        Args:
            folder: The bundle's own folder; it must not exist yet, for a bundle never changes.
            manifest: Everything but ``files``, which is filled in.
            files: Bytes by file name, without the manifest.

        Raises:
            BundleInvalid: The bundle would be refused when opened, or ``folder`` is already there or cannot be written.
        """
        bundle = cls.build(manifest, files)
        bundle.save(folder)
        return bundle

    def save(self, folder: Path | str) -> None:
        """Writes the bundle to a folder that does not exist yet, whole or not at all."""
        folder = Path(folder)
        refuse_taken(folder)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                for name, data in self.files.items():
                    _write_through(draft / name, data)
                draft.chmod(0o755)
                draft.rename(folder)
            except OSError:
                shutil.rmtree(draft)
                raise
        except OSError as error:
            raise BundleInvalid(f"the bundle cannot be written: {error.strerror}", where=str(folder)) from error

    @classmethod
    def default(cls) -> Self:
        """The shipped bundle for photographs of any size."""
        return cls.open(_SHIPPED / "default")

    @classmethod
    def named(cls, name: str) -> Self:
        """A shipped bundle, one of `shipped`, else the one at a path; see `open` for errors."""
        if name not in shipped() and not Path(name).exists():
            remedy = f"Shipped: {', '.join(shipped())}; or give a bundle's folder or tar"
            raise BundleInvalid("no bundle can be read: there is none of that name", where=name, remedy=remedy)
        return cls.open(_SHIPPED / name if name in shipped() else Path(name))

    @classmethod
    def _checked(cls, files: Mapping[str, bytes], where: str, expected: str | None) -> Self:
        if MANIFEST not in files:
            raise BundleInvalid(f"there is no {MANIFEST}", where=where)
        if sum(map(len, files.values())) > MAX_BYTES:
            raise _too_large(where)
        digest = sha256(files[MANIFEST])
        if expected is not None and digest != expected:
            raise BundleInvalid(f"the bundle's digest is {digest}, not {expected}", where=where)
        manifest = Manifest.from_bytes(files[MANIFEST], where=where)
        _check_names(set(files) - {MANIFEST}, set(manifest.files), where)
        for name, stated in manifest.files.items():
            if sha256(files[name]) != stated:
                remedy = "Take an untouched copy of the bundle"
                raise BundleInvalid(f"{name} has changed since the bundle was made", where=where, remedy=remedy)
        refuse_outside_data(files[MODEL], where=where)
        calibration = Calibration.from_json(files[CALIBRATION], where=where)
        return cls(digest=digest, manifest=manifest, calibration=calibration, files=MappingProxyType(dict(files)))


def shipped() -> tuple[str, ...]:
    """Names of the bundles that this release ships."""
    return tuple(sorted(path.name for path in _SHIPPED.iterdir() if (path / MANIFEST).is_file()))


def _check_names(present: set[str], listed: set[str], where: str) -> None:
    faults = (
        ("does not belong in a bundle", listed - REQUIRED - OPTIONAL),
        ("is required and not listed", REQUIRED - listed),
        ("is listed and not there", listed - present),
        ("is there and not listed", present - listed),
    )
    for fault, names in faults:
        if names:
            raise BundleInvalid(f"{sorted(names)[0]!r} {fault}", where=where)


def refuse_taken(folder: Path) -> None:
    """Says before a long run what `Bundle.save` would say after it.

    Raises:
        BundleInvalid: There is something in the bundle's place.
    """
    if folder.exists():
        remedy = "A bundle never changes: remove it or choose another folder"
        raise BundleInvalid("there is something in the bundle's place", where=str(folder), remedy=remedy)


def _read_folder(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    room = MAX_BYTES
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise BundleInvalid(f"{path.name!r} is not a plain file", where=str(folder))
        room -= path.stat().st_size
        if room < 0:
            raise _too_large(str(folder))
        files[path.name] = path.read_bytes()
    return files


def _read_tar(data: bytes, where: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflated(data, where)), mode="r:") as tar:
            for member in _plain_members(tar, where):
                if member.name in files:
                    raise BundleInvalid(f"{member.name!r} is there twice", where=where)
                stream = tar.extractfile(member)
                files[member.name] = stream.read() if stream else b""
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BundleInvalid(f"the bundle's tar cannot be read: {error}", where=where) from error
    return files


def _plain_members(tar: tarfile.TarFile, where: str) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise BundleInvalid(f"{member.name!r} in the tar is not a plain file", where=where)
        if "/" in member.name or "\\" in member.name:
            remedy = "A bundle's tar holds flat files; make it with `pack`"
            raise BundleInvalid(f"{member.name!r} in the tar is a path", where=where, remedy=remedy)
        yield member


def _inflated(data: bytes, where: str) -> bytes:
    # Inflated here with a bound, and not by tarfile, which reads extended headers of any size into memory.
    if not data.startswith(_GZIP):
        return data
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise BundleInvalid(f"the bundle's gzip is broken: {error}", where=where) from error
    if inflater.unconsumed_tail:
        raise _too_large(where)
    if not inflater.eof:
        raise BundleInvalid("the bundle's gzip ends too early", where=where)
    return plain


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _too_large(where: str) -> BundleInvalid:
    return BundleInvalid(f"the bundle is larger than {MAX_BYTES >> 20} MiB", where=where)
