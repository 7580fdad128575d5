"""Resident memory of another process, where the operating system tells it in a file."""

import threading
from pathlib import Path
from typing import NamedTuple

from stream.settings import MIB

_PROC = Path("/proc")
_LABEL = "VmRSS:"


def resident_mib(pid: int) -> float | None:
    """MiB of a process's memory that are in RAM (``VmRSS``); None if it is gone or this system has no /proc."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith(_LABEL)), None)
    return None if line is None else int(line.split()[1]) * 1024 / MIB


class Course(NamedTuple):
    """How memory went over a run, MiB; all None where it cannot be read."""

    start: float | None
    peak: float | None
    end: float | None


class MemoryCourse:
    """Follows the resident memory of whichever process is current. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._course = Course(None, None, None)

    def sample(self, pid: int | None) -> None:
        """Looks at one process; does nothing if there is none to look at."""
        found = None if pid is None else resident_mib(pid)
        if found is None:
            return
        with self._lock:
            start, peak, _ = self._course
            self._course = Course(found if start is None else start, max(found, peak or 0.0), found)

    @property
    def course(self) -> Course:
        """First, largest and last value seen."""
        with self._lock:
            return self._course
