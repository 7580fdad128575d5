"""The process that does one job: `python -m retrain.jobs JOB_ID`, settings from the environment.

It says how the job ended in one line of JSON on stdout, and ends at once when its stdin is closed: a job whose
coordinator is gone must not go on beside the one that the next coordinator starts.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from retrain.jobs.folder import JobFolder
from retrain.jobs.locking import sole
from retrain.jobs.work import work
from stream.blobs import open_store
from stream.errors import VeristreamError
from stream.settings import load
from stream.telemetry import configure_logging

_NICE = 5
_ORPHANED = 75


def main(job_id: str) -> int:
    """Does the job; returns the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Libraries may print; stdout is for the one line.
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(_NICE)  # workers come first
    try:
        settings = load()
        configure_logging(settings.telemetry)
        store = open_store(settings.blobs)
        locks = Path(settings.retrain.folder).expanduser() / "locks"
        with sole(locks, store, job_id, lost=lambda: os._exit(_ORPHANED)):
            outcome = work(JobFolder(store, job_id), store, settings)
    except VeristreamError as error:
        said = {
            "error": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy,
            "retryable": error.retryable,
        }  # fmt: skip
        print(json.dumps(said), file=answer, flush=True)
        return 1
    print(outcome.model_dump_json(), file=answer, flush=True)
    return 0


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(_ORPHANED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
