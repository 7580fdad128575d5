"""How long pictures that people labelled are kept: deleted once no set of data that is young enough names them.

They lie in two places of the blob store: as copies in the folder ``labelled`` (`retrain.keeping`), and in the zips that
a job learned from and was judged by. A job is as old as the last thing written in its folder. What was learned from old
pictures stays, as manifest, challenger and figures; but it can no longer be made again, as `retrain.jobs.rebuilding`
says then.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from retrain.jobs.folder import LABELS, MANIFEST, PICTURES, SLICE, JobFolder
from retrain.manifest import DatasetManifest
from retrain.selection import Selection
from stream.errors import VeristreamError
from stream.ports import Clock, Stored, VersionedStore

_log = logging.getLogger("veristream.retrain")

COPIES = "labelled"
_JOBS = "jobs"
_DAY_S = 86_400.0
_SWEEP_EVERY_S = _DAY_S
_LOOK_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What was deleted, or would be: copies of pictures, jobs' zips, and bytes in all; and how many copies stay."""

    copies: int
    zips: int
    bytes: int
    kept: int


def sweep(store: VersionedStore, *, days: float, now: float, dry_run: bool = False) -> Swept:
    """Deletes copies and zips that are older than so many days and that no younger job needs.

    Again is the same: what a sweep that was killed left is found by the next.

    Args:
        store: Where they lie.
        days: How long they are kept; 0: for ever.
        now: Seconds since the epoch.
        dry_run: Delete nothing.

    Raises:
        JobFailed, ConfigurationError: There are old copies, and a young job's labels or manifest cannot be read, so
            nobody knows what it needs; nothing was deleted.
        BlobForbidden, BlobUnavailable: The store refuses or does not answer.
    """
    oldest = now - days * _DAY_S if days else -1.0
    jobs = _by_job(store)
    young = {job for job, files in jobs.items() if max(one.modified for one in files) >= oldest}
    copies = list(store.stored(COPIES))
    old = [one for one in copies if one.modified < oldest]
    if old:
        needed = {digest for job in sorted(young) for digest in _needed(JobFolder(store, job))}
        old = [one for one in old if one.name.rpartition("/")[2] not in needed]
    zips = [
        one
        for job in jobs.keys() - young
        for one in jobs[job]
        if one.name in (f"{_JOBS}/{job}/{PICTURES}", f"{_JOBS}/{job}/{SLICE}")
    ]
    for one in () if dry_run else (*old, *zips):
        store.remove(one.name)
    return Swept(len(old), len(zips), sum(one.size for one in (*old, *zips)), len(copies) - len(old))


class Sweeper:
    """Sweeps once a day.

    Args:
        store: Where pictures lie.
        days: How long they are kept; 0: for ever.
        clock: Time.
        told: Is told what was deleted.
    """

    def __init__(self, store: VersionedStore, days: float, clock: Clock, told: Callable[[Swept], None]) -> None:
        self._store = store
        self._days = days
        self._clock = clock
        self._told = told

    def run(self, stop: threading.Event) -> None:
        """Sweeps until ``stop`` is set. What fails is said and tried again the next day."""
        due = self._clock.monotonic()
        while self._days and not stop.wait(_LOOK_AGAIN_S):
            if self._clock.monotonic() >= due:
                due = self._clock.monotonic() + _SWEEP_EVERY_S
                self.once()

    def once(self) -> None:
        """Sweeps now; what fails is said."""
        try:
            swept = sweep(self._store, days=self._days, now=self._clock.now())
        except VeristreamError as error:
            _log.warning("old pictures are deleted later: %s", error)
            return
        self._told(swept)
        if swept.copies or swept.zips:
            _log.info(
                "deleted after %g days: %d copies of labelled pictures and %d zips of jobs, %d bytes",
                self._days, swept.copies, swept.zips, swept.bytes,
            )  # fmt: skip


def _by_job(store: VersionedStore) -> Mapping[str, Sequence[Stored]]:
    found: dict[str, list[Stored]] = defaultdict(list)
    for one in store.stored(_JOBS):
        found[one.name.split("/")[1]].append(one)
    return found


def _needed(folder: JobFolder) -> Iterator[str]:
    """SHA-256 of every picture that a job chose or learned from."""
    selection = folder.read_as(LABELS, Selection)
    if selection is not None:
        yield from (one.kept.sha256 for one in selection.chosen if one.kept is not None)
    data = folder.read(MANIFEST)
    if data is not None:
        manifest = DatasetManifest.from_bytes(data, where=folder.uri(MANIFEST))
        yield from (picture.sha256 for picture in manifest.pictures)
