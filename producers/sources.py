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

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stream.errors import (
    BlobCorrupt,
    BlobError,
    BlobForbidden,
    BlobNotFound,
    BlobUnavailable,
    ConfigurationError,
    ImageTooLarge,
)
from stream.settings import BlobSettings

_GONE = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_DENIED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


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


class BucketSource:
    """All objects below ``s3://bucket/prefix``, in the bucket's order.

    Args:
        uri: ``s3://bucket/prefix``; without a prefix the whole bucket.
        settings: Endpoint, region and keys; empty keys leave it to Amazon's own chain.
    """

    def __init__(self, uri: str, settings: BlobSettings) -> None:
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")
        self.name = uri.rstrip("/")
        if not self._bucket:
            raise ConfigurationError(f"{uri!r} names no bucket", remedy="Write s3://bucket/prefix")
        timeout = settings.timeout_s
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint or None,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key.get_secret_value() or None,
            aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
            config=Config(connect_timeout=timeout, read_timeout=timeout, retries={"mode": "standard"}),
        )

    def entries(self) -> Iterator[Entry | Refused]:
        """Lists the bucket page by page."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        try:
            for page in pages:
                for found in page.get("Contents", ()):
                    if not found["Key"].endswith("/"):
                        yield Entry(found["Key"], found["Size"], found["ETag"].strip('"'))
        except (BotoCoreError, ClientError) as error:
            raise _told(error, self.name) from error

    def read(self, entry: Entry, *, limit: int) -> bytes:
        """Streams one object, provided it is still the one that was listed."""
        where = f"s3://{self._bucket}/{entry.path}"
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=entry.path, IfMatch=entry.version)
            with answer["Body"] as body:
                return _read(body, limit, where=where)
        except (BotoCoreError, ClientError) as error:
            raise _told(error, where) from error

    def uri(self, entry: Entry) -> str | None:
        """The object's own URI: large objects are pointed to, not copied."""
        return f"s3://{self._bucket}/{entry.path}"

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


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


def _read(file: "IO[bytes] | Any", limit: int, *, where: str) -> bytes:
    data: bytes = file.read(limit + 1)
    if len(data) > limit:
        raise ImageTooLarge(f"more than {limit} bytes", where=where)
    return data


def _not_listed(error: OSError) -> None:
    raise BlobNotFound(f"the folder cannot be listed: {error.strerror}", where=str(error.filename)) from error


def _told(error: BotoCoreError | ClientError, where: str) -> BlobError:
    code = str(error.response.get("Error", {}).get("Code")) if isinstance(error, ClientError) else ""
    if code in _GONE:
        return BlobNotFound("the bucket or object is not there", where=where)
    if code in _DENIED:
        remedy = "Check VERISTREAM_BLOBS__S3_ACCESS_KEY and the bucket's policy"
        return BlobForbidden(f"the store refuses access: {code}", where=where, remedy=remedy)
    if code in {"412", "PreconditionFailed"}:
        return BlobCorrupt("the object changed after it was listed", where=where, remedy="Run again")
    remedy = "Check VERISTREAM_BLOBS__S3_ENDPOINT"
    return BlobUnavailable(f"the store does not answer: {error}", where=where, remedy=remedy)
