"""What a job is asked, and what it answers."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from retrain.selection import Frozen


def job_id(model_digest: str, reference: str, window: str) -> str:
    """Names a job by what triggered it: one trigger, one job, whoever sees it and however often."""
    return hashlib.sha256(f"{model_digest}|{reference}|{window}".encode()).hexdigest()[:16]


class JobRequest(Frozen):
    """A challenger is wanted.

    Attributes:
        model_digest: The champion that it grows out of.
        model_uri: Where that lies packed; None: the bundle that the worker settings name.
        reference: Digest of the reference that the trigger compared with; empty where there was none.
        window: What triggered: a window's id, or the name of a period or quota.
        kind: How it learns.
        trigger: ``drift``, ``degradation``, ``schedule``, ``labels`` or ``person``, and what it was.
        since: Uploads that were judged before are not taken; None: none is too old.
        at: When it was asked; the challenger's date of making.
        seed: Of everything that is drawn.
    """

    model_digest: str
    model_uri: str | None = None
    reference: str = ""
    window: Annotated[str, Field(min_length=1)]
    kind: Literal["adapt", "train"] = "adapt"
    trigger: str = ""
    since: AwareDatetime | None = None
    at: AwareDatetime
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def job_id(self) -> str:
        """The job's name."""
        return job_id(self.model_digest, self.reference, self.window)


class Outcome(Frozen):
    """A challenger, whole; nothing is registered yet.

    Attributes:
        job_id: The job.
        digest: The challenger's.
        uri: Its packed bundle.
        slice_uri: Zip of the labelled pictures that were held out (`models.evaluation.pictures`).
        lesson_uri: Zip of those that it learned from.
        manifest_uri: What it learned from.
        manifest: That one's digest.
        figures: What was measured, by name.
        warnings: What a person should look at, in words.
    """

    job_id: str
    digest: str
    uri: str
    slice_uri: str
    lesson_uri: str | None = None
    manifest_uri: str
    manifest: str
    figures: dict[str, float]
    warnings: tuple[str, ...] = ()
