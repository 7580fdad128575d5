"""A thread that reads topics for a session until it is told to stop, or fails."""

import threading
from abc import ABC, abstractmethod

from stream.errors import VeristreamError


class ReadingThread(ABC):
    """Reads in a thread of its own; what ends it early is kept for `check`.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._failure: VeristreamError | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def check(self) -> None:
        """Raises what ended the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Ends the thread; it lets go of its connections."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @abstractmethod
    def _read(self) -> None:
        """Reads until ``_stop`` is set, and closes what it opened, whatever ends it."""

    def _run(self) -> None:
        try:
            self._read()
        except VeristreamError as error:
            self._failure = error
