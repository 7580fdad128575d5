"""Child processes that end with their parent, whatever ends it.

Each child is the leader of its own process group, so that Ctrl-C in a terminal reaches the parent alone and the parent
decides the order of stopping. On Linux the kernel kills a child as soon as its parent is gone (``PR_SET_PDEATHSIG``),
even after a SIGKILL. That signal is tied to the *thread* that started the child, so all children are started by one
thread that lives as long as the interpreter. Elsewhere only an orderly end of the parent stops its children.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.errors import VeristreamError

_POLL_S = 0.02
_TAIL_BYTES = 4096
_TAIL_LINES = 15
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

# Runs between fork and exec as a program of its own, because a `preexec_fn` may deadlock beside other threads.
# PR_SET_PDEATHSIG is 1; the parent may have died before it was set, hence the second look at getppid.
_TIED_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


def veristream_command(*arguments: str) -> list[str]:
    """The `veristream` command line as run by this very interpreter."""
    return [sys.executable, "-m", "compose", *arguments]


class ChildProcess:
    """A program that can be started, awaited, stopped, killed, paused and started again.

    Its output is appended to ``FOLDER/NAME.out`` and ``FOLDER/NAME.err``; it reads nothing from stdin.

    Args:
        name: What people call it; names the log files.
        command: Program and arguments.
        folder: Where the logs go; made if missing.
        env: Variables on top of this process's own.
        failure: The error to raise when it does not come up.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        failure: type[VeristreamError] = VeristreamError,
    ) -> None:
        self.name = name
        self.stdout_path = folder / f"{name}.out"
        self.stderr_path = folder / f"{name}.err"
        self._command = list(command)
        self._env = dict(env or {})
        self._failure = failure
        self._process: subprocess.Popen[bytes] | None = None
        self._stdout_before = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    @property
    def pid(self) -> int:
        """The process id of the running or last run; 0 before the first."""
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether it runs (or is paused)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit status of the last run, negative for a signal; None while it runs or before the first."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Starts it, for the first time or again. Does nothing while it runs.

        Raises:
            VeristreamError: As the constructor's ``failure``: the program cannot be executed. (On Linux that shows in
                `wait_until`, as a program that ended.)
        """
        if self.alive:
            return
        self.stdout_path.parent.mkdir(parents=True, exist_ok=True)
        self._stdout_before = self.stdout_path.stat().st_size if self.stdout_path.exists() else 0
        try:
            self._process = _spawner.submit(self._spawn).result()
        except OSError as error:
            raise self._failure(f"{self.name} cannot be executed: {error}", where=self._command[0]) from error

    def _spawn(self) -> subprocess.Popen[bytes]:
        tied = [sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, str(os.getpid())]
        command = [*tied, *self._command] if sys.platform == "linux" else self._command
        with self.stdout_path.open("ab") as stdout, self.stderr_path.open("ab") as stderr:
            return subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, **self._env},
                process_group=0,
            )

    def wait_until(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """Waits for ``ready()``, looking about every 20 ms; whatever ends the wait early (Ctrl-C too) kills the child.

        Raises:
            VeristreamError: As the constructor's ``failure``: it ended first, or the deadline passed.
        """
        try:
            self._poll(ready, deadline_s)
        except BaseException:
            self.kill()
            raise

    def _poll(self, ready: Callable[[], bool], deadline_s: float) -> None:
        give_up = time.monotonic() + deadline_s
        while not ready():
            if not self.alive:
                raise self._failed(f"{self.name} ended with exit status {self.exit_code} before it was ready")
            if time.monotonic() > give_up:
                raise self._failed(f"{self.name} was not ready within {deadline_s:g} s")
            time.sleep(_POLL_S)

    def wait_for_line(self, pattern: str, deadline_s: float) -> re.Match[str]:
        """Waits for a whole line of this run's stdout in which the regular expression is found; returns the match."""
        found: list[re.Match[str]] = []

        def said() -> bool:
            complete, _, _ = self.stdout_path.read_bytes()[self._stdout_before :].rpartition(b"\n")
            lines = complete.decode(errors="replace").splitlines()
            found.extend(match for line in lines if (match := re.search(pattern, line)))
            return bool(found)

        self.wait_until(said, deadline_s)
        return found[0]

    def wait(self, deadline_s: float) -> int:
        """Waits for it to end by itself; returns the exit status, negative for a signal.

        Raises:
            VeristreamError: As the constructor's ``failure``: it still runs after the deadline (and goes on running).
        """
        if self._process is None:
            raise self._failed(f"{self.name} was not started")
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired as late:
            raise self._failed(f"{self.name} still runs after {deadline_s:g} s") from late

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting for what comes of it; `terminate` does."""
        if self._process is not None and self.alive:
            self._process.terminate()
            self.resume()

    def terminate(self, deadline_s: float = 5.0) -> int | None:
        """Asks it to stop and, after the deadline, kills its whole group; returns the exit status."""
        self.ask_to_stop()
        if self._process is not None and self.alive:
            try:
                self._process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.exit_code

    def kill(self) -> None:
        """SIGKILL to it and to whatever it started; returns once it is gone."""
        if self._process is not None and self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def pause(self) -> None:
        """Freezes it: connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `pause`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def tail(self) -> str:
        """The last lines it wrote, stderr's if there are any."""
        for path in (self.stderr_path, self.stdout_path):
            if path.exists() and (text := last_lines(path)):
                return text
        return ""

    def _failed(self, what: str) -> VeristreamError:
        tail = self.tail()
        remedy = f"Its last words:\n{tail}" if tail else "It wrote nothing"
        return self._failure(what, where=str(self.stderr_path), remedy=remedy)


def last_lines(path: Path) -> str:
    """The last 15 lines of a text file, read from its end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]).strip()
