"""One process at a time on a job, or as the coordinator, on this machine and on others.

On one machine the kernel holds the lock, and lets go of it when its holder ends, whatever ends it. Between machines a
lease lies in the blob store, taken and renewed by conditional puts; a machine that is lost gives it up by not renewing
it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from retrain.selection import Frozen
from stream.clock import SystemClock
from stream.errors import BlobChanged, BlobNotFound, BlobUnavailable, JobRunning
from stream.ports import Clock, VersionedStore
from stream.settings import RetrainSettings

LEASE_S = 60.0
_LARGEST = 1 << 16
_JSON = "application/json"


def locks(settings: RetrainSettings) -> Path:
    """The folder of this machine's locks, in the one that retraining remembers in."""
    return settings.folder.expanduser() / "locks"


class Lease(Frozen):
    """Which machine, and which folder of locks on it, is at work; until when at the latest, seconds since the epoch."""

    host: str
    until: float


@contextmanager
def sole(
    folder: Path,
    store: VersionedStore,
    job_id: str,
    *,
    lost: Callable[[], None],
    clock: Clock | None = None,
    host: str = "",
) -> Iterator[None]:
    """Holds a job; see `alone`."""
    lease = f"jobs/{job_id}/lease.json"
    with alone(folder / f"{job_id}.lock", store, lease, work=f"job {job_id}", lost=lost, clock=clock, host=host):
        yield


@contextmanager
def alone(
    path: Path,
    store: VersionedStore,
    lease: str,
    *,
    work: str,
    lost: Callable[[], None],
    clock: Clock | None = None,
    host: str = "",
) -> Iterator[None]:
    """Holds a lock and a lease.

    Args:
        path: The lock among this machine's processes.
        store: Where the lease lies.
        lease: What it is called there.
        work: What is done while they are held, in words.
        lost: Called, in another thread, when another machine took it over; the work must end.
        clock: Time; this machine's unless given.
        host: This machine's name, unless given.

    Raises:
        JobRunning: Another process holds it.
        BlobUnavailable: The store does not answer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes that share no locks are told apart like machines.
    host = host or f"{socket.gethostname()}:{path.parent.resolve()}"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobRunning(f"another process is at work on {work}", where=str(path)) from error
        file.truncate(0)
        file.write(str(os.getpid()))  # for people who look for it
        file.flush()
        held = _Held(store, lease, work, host, clock or SystemClock())
        held.take()
        ended = threading.Event()
        renewing = threading.Thread(target=held.renew_until, args=(ended, lost), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            held.give_up()


class _Held:
    """A lease in the store."""

    def __init__(self, store: VersionedStore, name: str, work: str, host: str, clock: Clock) -> None:
        self._store = store
        self._name = name
        self._work = work
        self._host = host
        self._clock = clock
        self._revision: str | None = None

    def take(self) -> None:
        try:
            found = self._store.revised(self._store.uri(self._name), limit=_LARGEST)
        except BlobNotFound:
            pass
        else:
            self._refuse_held(found.data)
            self._revision = found.revision
        try:
            self._put(self._clock.now() + LEASE_S)
        except BlobChanged as error:
            raise JobRunning(
                f"another machine has just taken {self._work}", where=self._store.uri(self._name)
            ) from error

    def renew_until(self, ended: threading.Event, lost: Callable[[], None]) -> None:
        while not ended.wait(LEASE_S / 4):
            try:
                self._put(self._clock.now() + LEASE_S)
            except BlobUnavailable:
                continue  # the store may be back before the lease is over
            except BlobChanged:
                lost()
                return

    def give_up(self) -> None:
        try:
            self._put(0.0)
        except (BlobChanged, BlobUnavailable):
            return  # it is somebody else's already, or ends by itself

    def _refuse_held(self, data: bytes) -> None:
        try:
            lease = Lease.model_validate_json(data)
        except ValidationError:
            return
        # This machine's own lease is left over: its holder would still have the lock.
        if lease.host != self._host and lease.until > self._clock.now():
            left = lease.until - self._clock.now()
            what = f"{lease.host} is at work on {self._work} for up to {left:.0f} s more"
            raise JobRunning(what, where=self._store.uri(self._name), remedy="Run it again after that")

    def _put(self, until: float) -> None:
        lease = Lease(host=self._host, until=until)
        self._revision = self._store.replace(
            self._name, lease.model_dump_json().encode(), media_type=_JSON, revision=self._revision
        )
