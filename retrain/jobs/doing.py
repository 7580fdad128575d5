"""One job done in this process, and how it ended as one line of JSON."""

from __future__ import annotations

import json
import os

from retrain.jobs.folder import JobFolder
from retrain.jobs.locking import locks, sole
from retrain.jobs.work import work
from stream.blobs import open_store
from stream.errors import VeristreamError
from stream.settings import load

ENDED_BY_OTHERS = 75


def done(job_id: str) -> tuple[str, int]:
    """Does a job with the settings of the environment.

    The process ends with `ENDED_BY_OTHERS` when another machine has taken the job over meanwhile.

    Returns:
        The outcome and 0, or the error and 1; both as JSON.
    """
    try:
        settings = load()
        store = open_store(settings.blobs)
        with sole(locks(settings.retrain), store, job_id, lost=lambda: os._exit(ENDED_BY_OTHERS)):
            return work(JobFolder(store, job_id), store, settings).model_dump_json(), 0
    except VeristreamError as error:
        return said(error), 1


def said(error: VeristreamError) -> str:
    """An error as JSON."""
    return json.dumps(
        {
            "error": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy,
            "retryable": error.retryable,
        }
    )  # fmt: skip
