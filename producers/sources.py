"""Places that hold many pictures: a folder, a zip, a prefix of a bucket. Entries come one by one, read on demand.

Nothing here trusts names or sizes. Links are not followed out of a folder; zip entries whose names climb out of it are
refused although nothing is ever extracted, because the names go on into ids and logs; and every read stops at a limit,
whatever size the archive declares.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, Protocol

from stream.blobs.s3 import S3Blobs, split
from stream.errors import BlobCorrupt, BlobNotFound, ConfigurationError, ImageTooLarge
from stream.settings import BlobSettings


class Entry(NamedTuple):
    """One object of a source.

    Attributes:
        path: Its name inside the source, with forward slashes.
        size: Bytes, as the source declares them.
        version: Changes when the content does: modification time, CRC or ETag.
    """

    path: str
    size: int
    version: str


class Refused(NamedTuple):
    """An object that is not even offered for reading, and why."""

    path: str
    reason: str


class Source(Protocol):
    """A place that holds pictures."""

    @property
    def name(self) -> str:
        """What it is called in ids and messages."""
        ...

    def entries(self) -> Iterator[Entry | Refused]:
        """Everything in it, in a stable order.

        Raises:
            BlobError: It cannot be listed.
        """
        ...

    def count(self) -> int | None:
        """How many entries there are, where that is cheap to know."""
        ...

    def read(self, entry: Entry, *, limit: int) -> bytes:
        """The bytes of one entry.

        Raises:
            BlobError: As named in its subclasses.
            ImageTooLarge: More than ``limit`` bytes, whatever was declared.
        """
        ...

    def uri(self, entry: Entry) -> str | None:
        """Where a worker can fetch the entry, or None if it cannot."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...


class FolderSource:
    """All files below a folder, in the order of their names; symbolic links are refused."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.name = str(self._root)

    def entries(self) -> Iterator[Entry | Refused]:
        """Walks the folder."""
        for folder, below, files in os.walk(self._root, onerror=_not_listed):
            below.sort()
            for name in sorted(files):
                path = Path(folder, name)
                inside = path.relative_to(self._root).as_posix()
                facts = path.lstat()
                if not stat.S_ISREG(facts.st_mode):
                    yield Refused(inside, "link or special file")
                else:
                    yield Entry(inside, facts.st_size, str(facts.st_mtime_ns))

    def count(self) -> int | None:
        """Walks the folder once more."""
        return sum(1 for _ in self.entries())

    def read(self, entry: Entry, *, limit: int) -> bytes:
        """Reads one file."""
        path = self._root / entry.path
        try:
            with path.open("rb") as file:
                return _read(file, limit, where=str(path))
        except OSError as error:
            raise BlobNotFound(f"the file cannot be read: {error.strerror}", where=str(path)) from error

    def uri(self, entry: Entry) -> str | None:
        """None: which folders workers may read is their setting, not ours."""
        return None

    def close(self) -> None:
        """Nothing is held."""


class ZipSource:
    """All files in a zip, in the order they were added; read one at a time, never extracted.

    Raises:
        BlobNotFound: There is no such file.
        BlobCorrupt: It is no zip, or its entries overlap, which only archives built to explode do.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path.resolve())
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise BlobNotFound(f"the zip cannot be read: {error.strerror}", where=self.name) from error
        except zipfile.BadZipFile as error:
            raise BlobCorrupt(f"not a zip: {error}", where=self.name) from error
        if sum(info.compress_size for info in self._zip.infolist()) > path.stat().st_size:
            self._zip.close()
            what = "its entries add up to more than the file, so they overlap: a zip bomb"
            raise BlobCorrupt(what, where=self.name, remedy="Do not use this archive")

    def entries(self) -> Iterator[Entry | Refused]:
        """Lists the central directory."""
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            path = PurePosixPath(info.filename)
            if path.is_absolute() or ".." in path.parts or "\\" in info.filename or ":" in path.parts[0]:
                yield Refused(info.filename, "name climbs out of the archive")
            elif info.flag_bits & 1:
                yield Refused(info.filename, "encrypted")
            else:
                yield Entry(info.filename, info.file_size, f"{info.CRC:08x}")

    def count(self) -> int | None:
        """Read from the central directory."""
        return sum(1 for _ in self.entries())

    def read(self, entry: Entry, *, limit: int) -> bytes:
        """Unpacks one entry into memory, up to the limit."""
        where = f"{self.name}:{entry.path}"
        try:
            with self._zip.open(entry.path) as file:
                return _read(file, limit, where=where)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError) as error:
            raise BlobCorrupt(f"the zip entry cannot be unpacked: {error}", where=where) from error

    def uri(self, entry: Entry) -> str | None:
        """None: workers do not look into zips."""
        return None

    def close(self) -> None:
        """Closes the zip."""
        self._zip.close()


class _Lister(S3Blobs):
    """An S3 store that also lists."""

    def pages(self, bucket: str, prefix: str, *, where: str) -> Iterator[list[dict[str, Any]]]:
        """The objects below a prefix, up to a thousand at a time."""
        request = {"Bucket": bucket, "Prefix": prefix}
        more = True
        while more:
            with self._explained(where):
                answer = self._connect().list_objects_v2(**request)
            yield answer.get("Contents", [])
            more = answer["IsTruncated"]
            request["ContinuationToken"] = answer.get("NextContinuationToken", "")


class BucketSource:
    """All objects below ``s3://bucket/prefix``, in the bucket's order.

    Args:
        uri: ``s3://bucket/prefix``; without a prefix the whole bucket. Naming it here allows reading it.
        settings: Endpoint, region and keys; empty keys leave it to Amazon's own chain.
    """

    def __init__(self, uri: str, settings: BlobSettings) -> None:
        self._bucket, self._prefix = split(uri)
        self.name = uri.rstrip("/")
        if not self._bucket:
            raise ConfigurationError(f"{uri!r} names no bucket", remedy="Write s3://bucket/prefix")
        self._store = _Lister(settings, (self._bucket,))

    def entries(self) -> Iterator[Entry | Refused]:
        """Lists the bucket page by page."""
        for page in self._store.pages(self._bucket, self._prefix, where=self.name):
            for found in page:
                if not found["Key"].endswith("/"):
                    yield Entry(found["Key"], found["Size"], found["ETag"].strip('"'))

    def count(self) -> int | None:
        """None: counting a bucket means listing all of it."""
        return None

    def read(self, entry: Entry, *, limit: int) -> bytes:
        """Reads one object."""
        return self._store.read(self._uri(entry), limit=limit)

    def uri(self, entry: Entry) -> str | None:
        """The object's own URI: large objects are pointed to, not copied."""
        return self._uri(entry)

    def close(self) -> None:
        """Nothing is held open."""

    def _uri(self, entry: Entry) -> str:
        return f"s3://{self._bucket}/{entry.path}"


def open_source(source: str, settings: BlobSettings) -> Source:
    """Opens ``s3://bucket/prefix``, a folder, or a zip.

    Raises:
        ConfigurationError: It is none of these.
        BlobError: It cannot be opened.
    """
    if source.startswith("s3://"):
        return BucketSource(source, settings)
    path = Path(source)
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    remedy = "Name a folder, a zip, or s3://bucket/prefix"
    raise ConfigurationError("there is nothing to read pictures from", where=source, remedy=remedy)


def _read(file: IO[bytes], limit: int, *, where: str) -> bytes:
    data: bytes = file.read(limit + 1)
    if len(data) > limit:
        raise ImageTooLarge(f"more than {limit} bytes", where=where)
    return data


def _not_listed(error: OSError) -> None:
    raise BlobNotFound(f"the folder cannot be listed: {error.strerror}", where=str(error.filename)) from error
