"""The demo's golden set, rendered in a process of its own while the traffic's pictures are rendered in this one."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from compose.embedded.processes import ChildProcess, veristream_command
from compose.interrupts import held
from compose.opened import Opened
from stream.errors import VeristreamError

_RENDER_S = 180.0


class GoldenSet(Opened):
    """A zip of labelled scenes for the gate, for as long as the ``with`` block lasts.

    Raises:
        VeristreamError: The process cannot be executed.
    """

    def _open(self, stack: ExitStack) -> None:
        with held():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="veristream-golden-")))
        self.path = folder / "golden.zip"
        command = veristream_command("scenes", "golden", str(self.path))
        self._process = stack.enter_context(ChildProcess("golden", command, folder))
        with held():
            self._process.start()

    def wait(self) -> Path:
        """Returns the zip once it is whole.

        Raises:
            VeristreamError: It could not be rendered, or not within three minutes.
        """
        if self._process.wait(_RENDER_S):
            raise VeristreamError("the golden set could not be rendered", where="golden", remedy=self._process.tail())
        return self.path
