"""Jobs on a Ray cluster: each is one task, which Ray starts again when its worker is lost.

What goes on then is the job itself: finished stages and a training run's checkpoint lie in its folder in the blob
store, so it does not matter on which machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from retrain.jobs.doing import done
from stream.errors import ConfigurationError, JobFailed
from stream.settings import PREFIX, Settings

try:
    import ray
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "Ray is not installed", where="VERISTREAM_RETRAIN__EXECUTOR", remedy="pip install 'veristream[ray]'"
    ) from error

_RETRIES = 3


def done_on_ray(job_id: str, settings: Settings) -> tuple[str, int]:
    """Has a job done on the cluster that the settings name, else on one on this machine; see `doing.done`.

    Raises:
        ConfigurationError: The cluster cannot be reached or started.
        JobFailed: The job was lost with its worker again and again.
    """
    _join(settings)
    try:
        task = ray.remote(done).options(num_cpus=settings.retrain.threads, max_retries=_RETRIES)
        line, code = ray.get(task.remote(job_id))
    except ray.exceptions.RayError as error:
        remedy = "Ray's own logs say what became of the worker"
        raise JobFailed(f"Ray lost the job {_RETRIES + 1} times: {error}", where=job_id, remedy=remedy) from error
    else:
        return line, code
    finally:
        ray.shutdown()


def _join(settings: Settings) -> None:
    address, threads = settings.retrain.ray_address, settings.retrain.threads
    # A cluster that is already there says itself what it has.
    own: dict[str, Any] = {} if address else {"num_cpus": threads, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local", runtime_env={"env_vars": dict(_variables())}, log_to_driver=False, **own
        )  # fmt: skip
    except Exception as error:  # Ray says it in bare exceptions
        raise ConfigurationError(
            f"Ray cannot be reached or started: {error}", where=address or "this machine",
            remedy="Beside Evidently, Ray also needs opentelemetry-sdk and opentelemetry-exporter-prometheus",
        ) from error  # fmt: skip


def _variables() -> Mapping[str, str]:
    """The settings as this process has them; on a cluster the code is installed, the settings travel."""
    found = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    return {**found, "OPENBLAS_NUM_THREADS": "1"}
