"""Blobs in folders, by ``file://`` URI.

A path is resolved and compared with the allowed folders first. What is then opened is that resolved path, one step at a
time from its root and without following links, so that a link put in place between the check and the opening leads
nowhere.
"""

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from stream.errors import BlobChanged, BlobError, BlobForbidden, BlobNotFound, BlobUnavailable, ImageTooLarge
from stream.ports import Revised, Stored

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_REFUSED = frozenset({errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EINVAL})


class FolderBlobs:
    """A `stream.ports.VersionedStore` over folders.

    Args:
        roots: Folders that may be read.
        home: Folder to write to, also readable; None to read only.
    """

    def __init__(self, roots: Sequence[Path], home: Path | None = None) -> None:
        self._home = home.resolve() if home else None
        self._roots = tuple(root.resolve() for root in (*roots, *((home,) if home else ())))

    @classmethod
    def of_uri(cls, home: str, roots: Sequence[Path]) -> Self:
        """Opens a store that writes to a ``file://`` folder."""
        return cls(roots, Path(unquote(urlsplit(home).path)))

    def read(self, uri: str, *, limit: int) -> bytes:
        """Returns a regular file's bytes.

        Raises:
            BlobForbidden: Another host, a path with ``..``, one outside the allowed folders, or no regular file.
            BlobNotFound: There is no such file.
            BlobUnavailable: The file system fails.
            ImageTooLarge: More than ``limit`` bytes.
        """
        path = self._allowed(uri)
        try:
            # With an opener, `open` closes what it cannot use; a folder is refused by `open` itself.
            with open(path.name, "rb", opener=lambda _, __: self._open(path)) as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    raise BlobForbidden("this is no regular file", where=uri)
                data = file.read(limit + 1)
        except OSError as error:
            raise _explain(error, uri) from error
        if len(data) > limit:
            raise ImageTooLarge(f"{max(len(data), facts.st_size)} bytes, over the limit of {limit}", where=uri)
        return data

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        """Stores bytes under a relative name, whole or not at all, and returns their URI.

        ``media_type`` has no place in a folder; the name's ending should say it. The file is renamed into place but
        not synced: it survives a crash of the process, not always one of the machine.

        Raises:
            BlobForbidden: The name leaves the folder, or the store is for reading only.
            BlobUnavailable: The file system fails.
        """
        path = self._place(name)
        with _explained(path):
            _put(path, data)
        return path.as_uri()

    def uri(self, name: str) -> str:
        """Where something of this relative name lies, or would lie."""
        return self._place(name).as_uri()

    def revised(self, uri: str, *, limit: int) -> Revised:
        """Returns a file's bytes with their revision, which is their SHA-256; raises what `read` raises."""
        data = self.read(uri, limit=limit)
        return Revised(data, _revision(data))

    def replace(self, name: str, data: bytes, *, media_type: str, revision: str | None) -> str:
        """Stores bytes if the file still has this revision; see `stream.ports.VersionedStore`.

        Whoever replaces holds a lock beside the file, among processes and threads of every machine whose file system
        honours flock(2). The file is synced: what was decided outlives the machine's crash.

        Raises:
            BlobChanged: Another revision is there, or none.
            BlobForbidden: The name leaves the folder, or the store is for reading only.
            BlobUnavailable: The file system fails.
        """
        path = self._place(name)
        with _explained(path), _locked(path):
            found = _revision(path.read_bytes()) if path.exists() else None
            if found != revision:
                raise BlobChanged("somebody else wrote the file since it was read", where=path.as_uri())
            _put(path, data, synced=True)
        return _revision(data)

    def stored(self, folder: str) -> Iterator[Stored]:
        """Lists the regular files below a relative name; half-written ones and locks are none.

        Raises:
            BlobForbidden: The name leaves the folder, or the store is for reading only.
            BlobUnavailable: The file system fails.
        """
        place = self._place(folder)
        with _explained(place, "listed"):
            for where, _, names in os.walk(place, onerror=_raised):
                inside = Path(folder, Path(where).relative_to(place))
                for name in names:
                    with suppress(FileNotFoundError):  # removed since
                        facts = Path(where, name).lstat()
                        if stat.S_ISREG(facts.st_mode) and not name.startswith("."):
                            yield Stored((inside / name).as_posix(), facts.st_size, facts.st_mtime)

    def remove(self, name: str) -> None:
        """Removes a file, if there is one; raises what `write` raises."""
        path = self._place(name)
        with _explained(path, "removed"):
            path.unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        if self._home is None:
            raise BlobForbidden("this store is for reading only", where=name)
        path = (self._home / name).resolve()
        if ".." in Path(name).parts or not path.is_relative_to(self._home) or path == self._home:
            raise BlobForbidden("the name leaves the store's folder", where=name)
        return path

    def _allowed(self, uri: str) -> Path:
        try:
            parts = urlsplit(uri)
        except ValueError as error:
            raise BlobForbidden("this is no URI", where=uri) from error
        text = unquote(parts.path, errors="surrogateescape")
        if parts.netloc or parts.query or parts.fragment or not text.startswith("/"):
            remedy = "Use file:///absolute/path, with ? and # percent-encoded"
            raise BlobForbidden("a file URI has no host, query or fragment", where=uri, remedy=remedy)
        if ".." in text.split("/") or "\0" in text:
            raise BlobForbidden("the path has `..` or a zero byte in it", where=uri)
        try:
            path = Path(text).resolve()
        except (OSError, RuntimeError) as error:
            raise BlobForbidden("the path cannot be resolved; its links go in circles", where=uri) from error
        if not any(path.is_relative_to(root) and path != root for root in self._roots):
            remedy = "VERISTREAM_BLOBS__ALLOWED_ROOTS lists the folders that may be read"
            raise BlobForbidden("the path is outside the allowed folders", where=uri, remedy=remedy)
        return path

    @staticmethod
    def _open(path: Path) -> int:
        """Opens a path that has no links in it; should one have appeared since, opening it fails."""
        folder = os.open(path.anchor, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for step in path.parts[1:-1]:
                inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            # O_NONBLOCK: opening a named pipe must not wait for its writer.
            return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)


def _explain(error: OSError, uri: str) -> BlobError:
    if error.errno in _GONE:
        return BlobNotFound("there is no such file", where=uri)
    if error.errno in _REFUSED or isinstance(error, IsADirectoryError):
        return BlobForbidden(f"the file may not be opened: {error.strerror}", where=uri)
    return BlobUnavailable(f"the file cannot be read: {error.strerror}", where=uri)


def _raised(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _revision(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _put(path: Path, data: bytes, *, synced: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # A file of its own, for the one that is replaced is another file afterwards.
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(path: Path, doing: str = "written") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BlobUnavailable(f"the file cannot be {doing}: {error.strerror}", where=str(path)) from error
