"""Telling an MLflow server of jobs, over its REST API 2.0; without its client, whose pins do not go with ours.

The record is the topic `retrain`; MLflow is a mirror. A server that is away or refuses costs a line in the log and a
count, never a job.
"""

from __future__ import annotations

import json
import logging
import math
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from stream.ports import Clock

Status = Literal["FINISHED", "FAILED", "KILLED"]

_log = logging.getLogger(__name__)

_API = "/api/2.0/mlflow/"
_ANSWER_S = 3.0
_TOGETHER = 100
_LONGEST = 500
_NOT_IN_A_KEY = re.compile(r"[^a-zA-Z0-9_. /-]")
_NOT_THERE = 404


class Refused(Exception):
    """MLflow's answer to one call; never leaves this module."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}".strip())
        self.status = status


class Tracking:
    """One experiment on an MLflow server. Thread-safe.

    Args:
        address: Such as ``http://127.0.0.1:5000``; empty: nobody is told.
        experiment: Its name; made where it is not there.
        clock: Time.

    ``failures`` counts calls that did not get through.
    """

    def __init__(self, address: str, experiment: str, clock: Clock) -> None:
        self._address = address.rstrip("/")
        self._experiment = experiment
        self._clock = clock
        self.failures = 0

    def begin(self, job_id: str, tags: Mapping[str, str]) -> None:
        """Opens a run for a job, or the one that is there again."""
        self._told(lambda: self._begun(job_id, tags), f"job {job_id} was not begun")

    def log(
        self,
        job_id: str,
        *,
        params: Mapping[str, str | float | None] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Writes parameters, metrics and tags into a job's run. Numbers that are not finite are left out."""
        self._told(
            lambda: self._logged(job_id, params or {}, metrics or {}, tags or {}), f"job {job_id} was not written of"
        )

    def end(self, job_id: str, status: Status, reason: str = "") -> None:
        """Closes a job's run."""

        def ended() -> None:
            run = self._run(job_id)
            if reason:
                self._tagged(run, {"reason": reason})
            self._post("runs/update", {"run_id": run, "status": status, "end_time": self._now()})

        self._told(ended, f"job {job_id} was not ended")

    def _told(self, call: Any, what: str) -> None:
        if not self._address:
            return
        try:
            call()
        except (Refused, OSError, ValueError, KeyError, IndexError, TypeError) as error:
            self.failures += 1
            _log.warning("MLflow at %s: %s: %s", self._address, what, error)

    def _begun(self, job_id: str, tags: Mapping[str, str]) -> None:
        try:
            run = self._run(job_id)
        except IndexError:
            asked = {
                "experiment_id": self._experiment_id(),
                "run_name": job_id,
                "start_time": self._now(),
                "tags": [{"key": "veristream.job", "value": job_id}],
            }
            run = self._post("runs/create", asked)["run"]["info"]["run_id"]
        self._post("runs/update", {"run_id": run, "status": "RUNNING"})
        self._tagged(run, tags)

    def _logged(
        self,
        job_id: str,
        params: Mapping[str, str | float | None],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        run, now = self._run(job_id), self._now()
        entries = [
            {"key": _key(name), "value": str(value)[:_LONGEST]} for name, value in params.items() if value is not None
        ]
        numbers = [
            {"key": _key(name), "value": value, "timestamp": now, "step": 0}
            for name, value in metrics.items()
            if math.isfinite(value)
        ]
        for start in range(0, max(len(entries), len(numbers)), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            self._post("runs/log-batch", {"run_id": run, "params": entries[some], "metrics": numbers[some]})
        self._tagged(run, tags)

    def _tagged(self, run: str, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            self._post("runs/set-tag", {"run_id": run, "key": _key(name), "value": value[:_LONGEST]})

    def _run(self, job_id: str) -> str:
        """The run of a job; found by its tag, so that it is found after a restart."""
        asked = {
            "experiment_ids": [self._experiment_id()],
            "filter": f"tags.`veristream.job` = '{job_id}'",
            "max_results": 1,
        }
        found: Sequence[Any] = self._post("runs/search", asked).get("runs", [])
        return str(found[0]["info"]["run_id"])

    def _experiment_id(self) -> str:
        try:
            named = f"experiments/get-by-name?experiment_name={quote(self._experiment, safe='')}"
            return str(self._call("GET", named, None)["experiment"]["experiment_id"])
        except Refused as error:
            if error.status != _NOT_THERE:
                raise
        return str(self._post("experiments/create", {"name": self._experiment})["experiment_id"])

    def _post(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._call("POST", method, json.dumps(body).encode())

    def _call(self, verb: str, method: str, body: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  the address is a setting and checked to be http
            self._address + _API + method, data=body, method=verb, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310  as above
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read(_LONGEST).decode(errors="replace")) from error

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def _key(name: str) -> str:
    return _NOT_IN_A_KEY.sub("_", name)[:_LONGEST]
