"""Making a challenger again from its manifest, to see that it is the one."""

from __future__ import annotations

from dataclasses import dataclass

from models.bundle import Bundle
from retrain.jobs.folder import CHALLENGER, MANIFEST, PICTURES, REQUEST, JobFolder, sha256
from retrain.jobs.request import JobRequest
from retrain.jobs.work import champion, relearned
from retrain.manifest import DatasetManifest, libraries
from stream.errors import JobFailed
from stream.ports import VersionedStore
from stream.settings import Settings


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The bundle made again, the digest that the job's own has, and what was not as it had been: libraries, workers."""

    bundle: Bundle
    expected: str
    changed: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether it is the one."""
        return self.bundle.digest == self.expected


def rebuild(job_id: str, store: VersionedStore, settings: Settings) -> Rebuilt:
    """Learns once more from exactly what a job learned from.

    Equal libraries on an equal machine give an equal bundle; torch promises that on CPUs only. It is done in this
    process, so what several had learned together comes out a little different.

    Raises:
        JobFailed: The job's folder lacks the manifest or the challenger, or the pictures have changed or are no longer
            kept (`retrain.retention`).
        BundleInvalid: The parent is nowhere to be found.
    """
    folder = JobFolder(store, job_id)
    request = folder.require(REQUEST, JobRequest)
    manifest = DatasetManifest.from_bytes(_there(folder, MANIFEST), where=folder.uri(MANIFEST))
    learn = folder.read(PICTURES)
    if learn is None:
        remedy = "VERISTREAM_RETRAIN__KEEP_DAYS says how long pictures stay; the challenger and its figures are there"
        raise JobFailed(
            "the pictures that the job learned from are no longer kept, so it cannot be made again",
            where=folder.uri(PICTURES), remedy=remedy,
        )  # fmt: skip
    if sha256(learn) != manifest.files[PICTURES]:
        raise JobFailed("the pictures have changed since the job learned from them", where=folder.uri(PICTURES))
    expected = Bundle.unpack(_there(folder, CHALLENGER), where=folder.uri(CHALLENGER)).digest
    parent = champion(manifest.parent, request.model_uri, store, settings)
    bundle, _ = relearned(parent, manifest, learn, settings)
    now = libraries()
    changed = tuple(
        f"{name} {now.get(name, 'gone')} instead of {version}"
        for name, version in manifest.libraries.items()
        if now.get(name) != version
    )
    if manifest.workers > 1:
        changed += (f"learned in 1 process instead of {manifest.workers}, whose sums differ",)
    return Rebuilt(bundle, expected, changed)


def _there(folder: JobFolder, name: str) -> bytes:
    data = folder.read(name)
    if data is None:
        raise JobFailed(f"the job has no {name}", where=folder.uri(name), remedy="Run the job to its end first")
    return data
