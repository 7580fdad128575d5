"""Stopping in good order: the first SIGTERM or Ctrl-C asks, the second insists."""

import signal
import threading
from types import FrameType


def until_signalled() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets; the second ends the process as if nobody listened."""
    stop = threading.Event()

    def asked(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    return stop
