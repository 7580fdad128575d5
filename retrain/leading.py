"""One coordinator at a time: whoever comes second stands by until the first has ended, or is lost.

Two at once would do no harm to the slots, each change of which is conditional on the one before. But they would have
every job done and judged twice, and what the one refuses the other might be putting on trial.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from retrain.jobs.locking import alone
from stream.errors import BlobUnavailable, JobRunning
from stream.ports import Clock, VersionedStore

LEASE = "retrain/lease.json"
_LOCK = "coordinator.lock"
_ASK_S = 5.0

_log = logging.getLogger("veristream.retrain")


@contextmanager
def leading(
    locks: Path,
    store: VersionedStore,
    stop: threading.Event,
    *,
    lost: Callable[[], None],
    clock: Clock | None = None,
) -> Iterator[bool]:
    """Waits until nobody else coordinates, and holds that.

    Args:
        locks: Where this machine's locks lie.
        store: Where the lease lies; one that does not answer is waited for.
        stop: Set it to wait no longer.
        lost: Called, in another thread, when another machine took over because this one could not renew its lease.
        clock: Time; this machine's unless given.

    Yields:
        Whether it is held; not so where ``stop`` was set first.
    """
    with ExitStack() as held:
        waited = ""
        while not stop.is_set():
            try:
                held.enter_context(alone(locks / _LOCK, store, LEASE, work="retraining", lost=lost, clock=clock))
            except (JobRunning, BlobUnavailable) as error:
                if type(error).__name__ != waited:
                    _log.warning("standing by: %s (%s)", error.what, error.where)
                    waited = type(error).__name__
                stop.wait(_ASK_S)
            else:
                if waited:
                    _log.info("nobody else is at work on retraining any more: taking over")
                break
        yield not stop.is_set()
