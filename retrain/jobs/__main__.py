"""The process that does one job: `python -m retrain.jobs JOB_ID`, settings from the environment.

It says how the job ended in one line of JSON on stdout, and ends at once when its stdin is closed: a job whose
coordinator is gone must not go on beside the one that the next coordinator starts.
"""

from __future__ import annotations

import os
import sys
import threading

from retrain.jobs.doing import ENDED_BY_OTHERS, done, said
from retrain.jobs.folder import REQUEST, JobFolder
from retrain.jobs.request import JobRequest
from stream.blobs import open_store
from stream.errors import VeristreamError
from stream.settings import Settings, load
from stream.telemetry import configure_logging

_NICE = 2


def main(job_id: str) -> int:
    """Does the job, here or on Ray; returns the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Libraries may print; stdout is for the one line.
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(_NICE)  # workers come first, but a job must not starve on a busy machine
    line, code = _done(job_id)
    print(line, file=answer, flush=True)
    return code


def _done(job_id: str) -> tuple[str, int]:
    try:
        settings = load()
        configure_logging(settings.telemetry)
        if settings.retrain.executor == "subprocess":
            return done(job_id)
        from retrain.jobs.on_ray import done_on_ray  # noqa: PLC0415  Ray is an extra, and seconds to load

        # A lesson is one task as a whole; of a training run, its stage on Ray is all that goes there.
        return done(job_id) if _kind(job_id, settings) == "train" else done_on_ray(job_id, settings)
    except VeristreamError as error:
        return said(error), 1


def _kind(job_id: str, settings: Settings) -> str:
    return JobFolder(open_store(settings.blobs), job_id).require(REQUEST, JobRequest).kind


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(ENDED_BY_OTHERS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
