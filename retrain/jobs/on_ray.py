"""Lessons on a Ray cluster: a job of kind adapt takes seconds, and is one task, which Ray starts again when it is lost.

What goes on then is the job itself: its finished stages lie in its folder in the blob store, so it does not matter on
which machine. What takes hours is trained by Ray Train (`retrain.jobs.on_ray_train`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from retrain.jobs.capacity import require
from retrain.jobs.doing import done
from stream.errors import ConfigurationError, JobFailed
from stream.settings import PREFIX, Settings

try:
    import ray
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "Ray is not installed", where="VERISTREAM_RETRAIN__EXECUTOR", remedy="pip install 'veristream[ray]'"
    ) from error

RETRIES = 3


def done_on_ray(job_id: str, settings: Settings) -> tuple[str, int]:
    """Has a job done by one task; see `doing.done`.

    Raises:
        ConfigurationError: The cluster cannot be reached or started.
        JobFailed: The cluster will never have the CPUs, or the job was lost with its worker again and again.
    """
    with joined(settings, cpus=settings.retrain.threads):
        try:
            task = ray.remote(done).options(num_cpus=settings.retrain.threads, max_retries=RETRIES)
            line, code = ray.get(task.remote(job_id))
        except ray.exceptions.RayError as error:
            remedy = "Ray's own logs say what became of the worker"
            raise JobFailed(f"Ray lost the job {RETRIES + 1} times: {error}", where=job_id, remedy=remedy) from error
        return line, code


@contextmanager
def joined(settings: Settings, *, cpus: int, workers: int = 1) -> Iterator[None]:
    """This process on the cluster that the settings name, else on one of its own on this machine.

    Args:
        settings: Of everything; the code is installed on a cluster, the settings travel.
        cpus: That each worker asks for. A cluster of its own has as many as all of them ask for.
        workers: How many there are at once.

    Raises:
        ConfigurationError: The cluster cannot be reached or started.
        JobFailed: It has too few CPUs, busy ones included, and does not grow.
    """
    address = settings.retrain.ray_address
    own: dict[str, Any] = {} if address else {"num_cpus": cpus * workers, "include_dashboard": False}
    # Ray's own processes would be so nice that on a busy machine they get no turn: minutes for what takes seconds.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(
            address=address or "local", runtime_env={"env_vars": dict(_variables())}, log_to_driver=False, **own
        )  # fmt: skip
    except Exception as error:  # Ray says it in bare exceptions
        raise ConfigurationError(
            f"Ray cannot be reached or started: {error}", where=address or "this machine",
            remedy="Beside Evidently, Ray also needs opentelemetry-sdk and opentelemetry-exporter-prometheus",
        ) from error  # fmt: skip
    try:
        grows = settings.retrain.ray_autoscales
        require(_machines(), cpus=cpus, workers=workers, where=address or "this machine", grows=grows)
        yield
    finally:
        ray.shutdown()


def _machines() -> list[float]:
    """The CPUs of every machine that is there, busy or idle."""
    known: Sequence[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [float(node["Resources"].get("CPU", 0.0)) for node in known if node["Alive"]]


def _variables() -> Mapping[str, str]:
    """The settings as this process has them."""
    found = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    return {**found, "OPENBLAS_NUM_THREADS": "1"}
