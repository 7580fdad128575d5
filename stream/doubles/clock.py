"""A clock that moves only when told to."""


class ManualClock:
    """A `stream.ports.Clock` for tests.

    Args:
        start: Seconds since the epoch that `now` begins at.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._passed = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Lets time pass; a negative number is refused, because time does not go back."""
        if seconds < 0:
            raise ValueError(f"time does not go back {-seconds} s")
        self._passed += seconds
