"""The loop's own processes beside the worker: the drift monitor and the retraining coordinator."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from compose.embedded.processes import ChildProcess, veristream_command
from compose.interrupts import held
from compose.loop_view import ProcessView
from compose.memory import MemoryCourse, resident_mib
from stream.errors import VeristreamError

READY_LINE = r'"event": "ready"'
COMMANDS: Mapping[str, Sequence[str]] = {
    "drift": veristream_command("drift", "run"),
    "retrain": veristream_command("retrain", "run"),
}
_READY_S = 90.0
# Longer than a subscriber takes to leave its group; a job in hand is resumed by whoever comes next.
_STOP_S = 5.0


@dataclass(slots=True)
class _Companion:
    process: ChildProcess
    memory: MemoryCourse
    ready_s: float | None = None


class Companions:
    """Child processes that come up together and end together, for as long as the ``with`` block lasts.

    Args:
        commands: The command line of each by its name.
        environment: Variables on top of this process's own.
        folder: Where their output goes.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], folder: Path) -> None:
        self._companions = {
            name: _Companion(ChildProcess(name, command, folder, env=environment), MemoryCourse())
            for name, command in commands.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for companion in self._companions.values():
            companion.process.ask_to_stop()
        for companion in self._companions.values():
            companion.process.terminate(_STOP_S)

    def start(self) -> None:
        """Starts them all; `wait_ready` waits.

        Raises:
            VeristreamError: One cannot be executed.
        """
        for companion in self._companions.values():
            with held():
                companion.process.start()

    def wait_ready(self) -> None:
        """Returns once each has said that it is ready.

        Raises:
            VeristreamError: One ended or said nothing within a minute and a half; with its last words.
        """
        begun = time.monotonic()
        for companion in self._companions.values():
            companion.process.wait_for_line(READY_LINE, _READY_S)
            companion.ready_s = time.monotonic() - begun

    def check(self) -> None:
        """Raises what ended one of them, if anything did.

        Raises:
            VeristreamError: With its last words.
        """
        for name, companion in self._companions.items():
            if not companion.process.alive:
                what = f"{name} ended by itself with exit status {companion.process.exit_code}"
                raise VeristreamError(what, where=name, remedy=f"Its last words:\n{companion.process.tail()}")

    def sample(self) -> None:
        """Looks at their memory."""
        for companion in self._companions.values():
            companion.memory.sample(companion.process.pid if companion.process.alive else None)

    def views(self) -> tuple[ProcessView, ...]:
        """One line for each."""
        return tuple(_view(name, companion) for name, companion in self._companions.items())

    def report(self) -> dict[str, Any]:
        """How each came up and what memory it took, by name."""
        return {
            name: {
                "ready_s": None if companion.ready_s is None else round(companion.ready_s, 2),
                "peak_memory_mib": None if (peak := companion.memory.course.peak) is None else round(peak, 1),
            }
            for name, companion in self._companions.items()
        }


def _view(name: str, companion: _Companion) -> ProcessView:
    process = companion.process
    if not process.alive:
        return ProcessView(name, "stopped", None, None)
    state = "starting" if companion.ready_s is None else "ready"
    return ProcessView(name, state, process.pid, resident_mib(process.pid))
