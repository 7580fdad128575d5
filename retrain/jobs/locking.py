"""One process at a time on a job. The kernel lets go of the lock when its holder ends, whatever ends it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.errors import JobRunning


@contextmanager
def sole(folder: Path, job_id: str) -> Iterator[None]:
    """Holds the job, on this machine.

    Raises:
        JobRunning: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job_id}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobRunning(f"another process is at work on job {job_id}", where=str(path)) from error
        yield
