"""The demo's golden set, rendered in a process of its own while the traffic's pictures are rendered in this one."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from compose.embedded.processes import ChildProcess, veristream_command
from compose.interrupts import held
from stream.errors import VeristreamError

_RENDER_S = 180.0


class GoldenSet:
    """A zip of labelled scenes for the gate, for as long as the ``with`` block lasts.

    Raises:
        VeristreamError: The process cannot be executed.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            with held():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="veristream-golden-")))
            self.path = folder / "golden.zip"
            command = veristream_command("scenes", "golden", str(self.path))
            self._process = stack.enter_context(ChildProcess("golden", command, folder))
            with held():
                self._process.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def wait(self) -> Path:
        """Returns the zip once it is whole.

        Raises:
            VeristreamError: It could not be rendered, or not within three minutes.
        """
        if self._process.wait(_RENDER_S):
            raise VeristreamError("the golden set could not be rendered", where="golden", remedy=self._process.tail())
        return self.path
