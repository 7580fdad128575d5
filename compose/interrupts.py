"""Ctrl-C, SIGTERM and a closed terminal, all as one KeyboardInterrupt in the main thread."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_GRACE_S = 6.0


class _Held:
    """Whether an interrupt has to wait, and whether one does."""

    depth = 0
    waiting = False


_held = _Held()


@contextmanager
def held() -> Iterator[None]:
    """Makes an interrupt wait until the end of the block: for what must not be left between made and registered."""
    _held.depth += 1
    try:
        yield
    finally:
        _held.depth -= 1
    if _held.waiting and not _held.depth:
        _held.waiting = False
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt at the first of these signals and lets the stopping that follows finish in peace.

    A second signal is heard again only after the time that stopping may take, so that an impatient second Ctrl-C does
    not leave a process behind.
    """
    interrupted_at = -_GRACE_S
    _held.waiting = False

    def interrupted(_: int, __: FrameType | None) -> None:
        nonlocal interrupted_at
        now = time.monotonic()
        if now - interrupted_at >= _GRACE_S:
            interrupted_at = now
            if not _held.depth:
                raise KeyboardInterrupt
            _held.waiting = True

    kinds = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {kind: signal.signal(kind, interrupted) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
