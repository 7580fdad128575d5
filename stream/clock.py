"""The clock on the wall."""

import time


class SystemClock:
    """This machine's time; see `stream.ports.Clock`."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
