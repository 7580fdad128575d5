"""Opening jobs and having them done, each by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from retrain.jobs.folder import LABELS, OUTCOME, REQUEST, JobFolder
from retrain.jobs.locking import locks, sole
from retrain.jobs.request import JobRequest, Outcome
from retrain.ledger import Ledger
from retrain.selection import Selection, select
from retrain.tracking import Tracking
from stream import errors
from stream.clock import SystemClock
from stream.errors import ConfigurationError, DatasetUnfit, JobFailed, JobInterrupted, JobRunning, VeristreamError
from stream.ports import VersionedStore
from stream.settings import Settings

_ATTEMPTS = 3
# The learner's matrices are small: more threads of OpenBLAS spin where others work, and cost six times the time.
ALONE = {"OPENBLAS_NUM_THREADS": "1"}
_STOPPED_S = 10.0
_KEPT = (DatasetUnfit, JobRunning, ConfigurationError)


class Jobs:
    """Opens jobs and runs them. `stop` may be called from any thread.

    Args:
        settings: Of everything.
        store: Where the jobs' folders lie: the one that the settings name.
        ledger: Whose labels jobs are made of.
        environ: Variables that the job's process gets on top of this process's own.

    ``tracking`` is the mirror of jobs on an MLflow server, for whoever decides on challengers to write in as well.
    """

    def __init__(
        self,
        settings: Settings,
        store: VersionedStore,
        ledger: Ledger,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._environ = dict(environ or {})
        self.tracking = Tracking(settings.retrain.mlflow, settings.retrain.experiment, SystemClock())
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def open_job(self, request: JobRequest) -> None:
        """Writes down what is asked. Opening a job again changes nothing.

        Raises:
            BlobUnavailable: The store does not answer.
        """
        folder = self._folder(request.job_id)
        if folder.read_as(REQUEST, JobRequest) is None:
            folder.write(REQUEST, request.model_dump_json(indent=1).encode())

    def request(self, job_id: str) -> JobRequest | None:
        """What was asked of a job; None where there is none."""
        return self._folder(job_id).read_as(REQUEST, JobRequest)

    def run(self, job_id: str) -> Outcome:
        """Has a job done, and waits. A job that was interrupted goes on where it was, three times at most.

        The labels are chosen when it first runs, and stay the same from then on.

        Raises:
            DatasetUnfit: The labelled pictures make no set to learn from; the message gives every reason.
            JobRunning: Another process is at work on it.
            JobInterrupted: It was stopped, or ended three times before its outcome.
            JobFailed: It cannot go on; the message says why.
            ConfigurationError: A setting is wrong.
        """
        folder = self._folder(job_id)
        before = folder.read_as(OUTCOME, Outcome)
        if before is not None:
            return before
        request = folder.require(REQUEST, JobRequest)
        self._refuse_held(job_id)
        self._begin(request)
        try:
            self._choose_labels(request)
            outcome = self._attempts(job_id)
        except JobInterrupted as error:
            self.tracking.end(job_id, "KILLED", str(error))
            raise
        except VeristreamError as error:
            self.tracking.end(job_id, "FAILED", str(error))
            raise
        self.tracking.log(
            job_id, metrics=outcome.figures, tags={"challenger": outcome.digest, "manifest": outcome.manifest}
        )
        self.tracking.end(job_id, "FINISHED")
        return outcome

    @property
    def pid(self) -> int | None:
        """The process of the job that is running; None while none is."""
        process = self._process
        return None if process is None else process.pid

    def stop(self) -> None:
        """Ends the job that is running, which can be run again, and lets none start."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.terminate()

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._store, job_id)

    def _refuse_held(self, job_id: str) -> None:
        """Asks before a process is started that would only say the same; the process holds the job itself."""
        with sole(locks(self._settings.retrain), self._store, job_id, lost=self.stop):
            return

    def _begin(self, request: JobRequest) -> None:
        said = {"kind": request.kind, "trigger": request.trigger, "parent": request.model_digest}
        self.tracking.begin(request.job_id, said)
        retrain = self._settings.retrain
        params = {"seed": request.seed, "held_out": retrain.held_out, "reviewer_share": retrain.reviewer_share}
        recipe = retrain.recipe if request.kind == "train" else None
        self.tracking.log(
            request.job_id,
            params={**params, "reference": request.reference, "window": request.window, "recipe": recipe},
        )

    def _attempts(self, job_id: str) -> Outcome:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._attempt(job_id)
            except JobInterrupted:
                if attempt == _ATTEMPTS or self._stopping.is_set():
                    raise
        raise AssertionError

    def _choose_labels(self, request: JobRequest) -> None:
        folder = self._folder(request.job_id)
        if folder.read_as(LABELS, Selection) is not None:
            return
        since = request.since.timestamp() if request.since else 0.0
        selection = select(self._ledger.labelled(since=since), most=self._settings.retrain.most_pictures)
        folder.write(LABELS, selection.model_dump_json(indent=1).encode())

    def _attempt(self, job_id: str) -> Outcome:
        if self._stopping.is_set():
            raise _interrupted(job_id, "it was stopped")
        process = subprocess.Popen(  # noqa: S603  this very interpreter
            [sys.executable, "-m", "retrain.jobs", job_id],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **ALONE, **self._environ},
        )  # fmt: skip
        self._process = process
        try:
            # stop() may have come before the process was known to it.
            if self._stopping.is_set():
                process.terminate()
            # stdin stays open until the end: closing it ends the job.
            answer = _answer(process, self._settings.retrain.timeout_s)
        except subprocess.TimeoutExpired as error:
            what = f"it took longer than {self._settings.retrain.timeout_s:g} s"
            raise JobFailed(what, where=job_id, remedy="Raise VERISTREAM_RETRAIN__TIMEOUT_S") from error
        finally:
            self._process = None
            _end(process)
        return understood(answer, process.returncode, job_id)


def understood(answer: bytes, code: int, job_id: str) -> Outcome:
    """The outcome in a job's one line, or its error raised.

    Raises:
        DatasetUnfit, JobRunning, ConfigurationError: As the job said.
        JobInterrupted: It said nothing, or something that may pass.
        JobFailed: Anything else it said.
    """
    if code == 0:
        try:
            return Outcome.model_validate_json(answer)
        except ValidationError as error:
            raise JobFailed("the job's answer is no outcome", where=job_id) from error
    try:
        said: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise _interrupted(job_id, f"its process ended with {code}") from None
    kind = getattr(errors, said["error"], JobFailed)
    if kind in _KEPT:
        raise kind(said["what"], where=said["where"], remedy=said["remedy"])
    if said["retryable"]:
        raise _interrupted(job_id, said["what"])
    raise JobFailed(f"{said['what']} ({said['error']})", where=said["where"] or job_id, remedy=said["remedy"])


def _answer(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """What the process writes until it ends; its stdin stays open all the while."""
    found: list[bytes] = []
    assert process.stdout is not None  # noqa: S101  asked for above
    reading = threading.Thread(target=lambda out: found.append(out.read()), args=(process.stdout,), daemon=True)
    reading.start()
    process.wait(timeout_s)
    reading.join()
    return found[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOPPED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _interrupted(job_id: str, why: str) -> JobInterrupted:
    return JobInterrupted(f"the job did not come to its end: {why}", where=job_id, remedy="Run it again; it goes on")
