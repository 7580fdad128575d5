"""How far a job's own process has come, read from the job's folder."""

from __future__ import annotations

from dataclasses import dataclass

from retrain.jobs import JobRequest, Outcome
from retrain.jobs.folder import LABELS, MANIFEST, OUTCOME, REQUEST, JobFolder, Stage
from retrain.selection import Selection
from stream.ports import VersionedStore

_DATASET = "stage-dataset.json"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that was built: where its manifest lies, what is in it, and that in words."""

    uri: str
    figures: dict[str, float]
    reason: str


class Progress:
    """Looks into the folders of jobs.

    Args:
        store: Where they lie.
    """

    def __init__(self, store: VersionedStore) -> None:
        self._store = store

    def request(self, job_id: str) -> JobRequest:
        """What was asked.

        Raises:
            JobFailed: Nothing was, or it cannot be read.
        """
        return JobFolder(self._store, job_id).require(REQUEST, JobRequest)

    def begun(self, job_id: str) -> bool:
        """Whether the job's labels were chosen: from then on it waits for no more."""
        return JobFolder(self._store, job_id).read_as(LABELS, Selection) is not None

    def dataset(self, job_id: str) -> Dataset | None:
        """The dataset, once it is built."""
        folder = JobFolder(self._store, job_id)
        stage = folder.read_as(_DATASET, Stage)
        if stage is None:
            return None
        pictures = {part: int(stage.figures.get(part, 0)) for part in ("learn", "slice")}
        return Dataset(
            folder.uri(MANIFEST), dict(stage.figures),
            f"{pictures['learn']} pictures to learn from, {pictures['slice']} held out",
        )  # fmt: skip

    def outcome(self, job_id: str) -> Outcome:
        """What the job made.

        Raises:
            JobFailed: It has made nothing yet.
        """
        return JobFolder(self._store, job_id).require(OUTCOME, Outcome)
