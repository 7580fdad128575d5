"""What a backfill has already delivered, in a file that survives a kill at any moment.

One JSON line per acknowledged picture, appended as the acknowledgement arrives. A line that was cut short by a kill is
dropped when the file is read: that picture is sent again, under the same upload id. The first line names the source,
so that a journal is never used for another one.
"""

import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from producers.sources import Entry
from stream.errors import ConfigurationError

_FORMAT = "veristream.backfill.v1"


class Journal:
    """The journal of one source. `done` and `record` may be called from different threads.

    Args:
        path: The file; made if it is not there. None keeps nothing.
        source: Name of the source it belongs to.

    Raises:
        ConfigurationError: The file belongs to another source, is no journal, or cannot be opened.
    """

    def __init__(self, path: Path | None, source: str) -> None:
        self._lock = threading.Lock()
        self._done: set[tuple[str, str]] = set()
        self._file: IO[bytes] | None = None
        if path is None:
            return
        try:
            self._file = file = path.open("a+b")
        except OSError as error:
            raise ConfigurationError(f"the journal cannot be opened: {error.strerror}", where=str(path)) from error
        try:
            self._load(file, path, source)
        except BaseException:
            file.close()
            raise

    def done(self, entry: Entry) -> bool:
        """Whether this very version of the entry was acknowledged before."""
        with self._lock:
            return (entry.path, entry.version) in self._done

    def record(self, entry: Entry, upload_id: str) -> None:
        """Notes an acknowledgement; it is with the operating system when this returns."""
        with self._lock:
            self._done.add((entry.path, entry.version))
            self._append([entry.path, entry.version, upload_id])

    def close(self) -> None:
        """Syncs the file to disk and closes it."""
        with self._lock:
            if self._file is not None:
                os.fsync(self._file.fileno())
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: object) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self._file.flush()

    def _load(self, file: IO[bytes], path: Path, source: str) -> None:
        file.seek(0)
        whole = 0
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            self._accept(line, number, path, source)
        file.truncate(whole)
        if whole == 0:
            self._append({"format": _FORMAT, "source": source})

    def _accept(self, line: bytes, number: int, path: Path, source: str) -> None:
        where = f"{path}:{number + 1}"
        try:
            said = json.loads(line)
            if number:
                name, version, _ = said
                self._done.add((str(name), str(version)))
                return
            recorded = said["source"] if said["format"] == _FORMAT else None
        except (ValueError, KeyError, TypeError) as error:
            remedy = "Name another --state file"
            raise ConfigurationError("this is no journal of a backfill", where=where, remedy=remedy) from error
        if recorded != source:
            remedy = "Use one --state file per source"
            raise ConfigurationError(f"this journal belongs to {recorded}, not {source}", where=where, remedy=remedy)
