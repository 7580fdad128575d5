"""Training runs on Ray Train: as many processes as are set, each on a GPU where there are as many.

The job's own process gathers the pictures, has the workers learn, and writes down what came of it. The workers run the
same loop as everywhere; Ray joins them, keeps their checkpoints in the job's folder in the blob store, and starts all
of them again from the last one when a worker is lost. When the job's own process is lost, its next one finds the run by
its name and goes on from the same checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import ray
import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from models.bundle import Bundle
from models.recipes import stated
from models.training.checkpoints import FILE
from retrain.jobs import training
from retrain.jobs.folder import MANIFEST, PICTURES, REQUEST, JobFolder
from retrain.jobs.on_ray import RETRIES, joined
from retrain.jobs.request import JobRequest
from retrain.jobs.work import champion, refuse_other_base
from retrain.manifest import DatasetManifest
from stream.blobs import open_store
from stream.errors import ConfigurationError, JobFailed
from stream.settings import BlobSettings, Settings, load

_PLACE = "ray"
_STEP = "step"


def trained(folder: JobFolder, manifest: DatasetManifest, settings: Settings) -> tuple[Bundle, dict[str, float]]:
    """Has a manifest's bundle trained by the cluster that the settings name, else by one on this machine.

    Args:
        folder: The job's, with its request, manifest and pictures: the workers read them there.
        manifest: What is learned from, and by how many workers.
        settings: Of everything.

    Returns:
        The bundle; and ``workers``, and ``resumed_at_step``: the step that the workers last went on from, 0 where
        nothing was lost.

    Raises:
        ConfigurationError: The cluster cannot be reached, or recipe or pictures cannot be used.
        JobFailed: The cluster will never have the CPUs, or workers were lost, or failed, again and again.
    """
    threads, workers = manifest.threads, manifest.workers
    with joined(settings, cpus=threads, workers=workers):
        path, files = storage(folder.uri(_PLACE), settings.blobs)
        trainer = TorchTrainer(
            _learn,  # type: ignore[arg-type]  # typed as it was before it returned values
            train_loop_config={"job_id": manifest.job_id},
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=_gpus() >= workers,
                resources_per_worker={"CPU": threads},
            ),
            run_config=RunConfig(
                # A run of the same name goes on from its last checkpoint.
                name=f"run-{manifest.digest[:16]}",
                storage_path=path,
                storage_filesystem=files,
                failure_config=FailureConfig(max_failures=RETRIES),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
            ),
        )
        try:
            result: Any = trainer.fit()  # typed likewise
        except ray.train.TrainingFailedError as error:
            what = str(error).strip().splitlines()[-1]
            remedy = "Ray's own logs say what became of the workers"
            raise JobFailed(f"Ray Train gave the run up: {what}", where=manifest.job_id, remedy=remedy) from error
    answer: Mapping[str, Any] = result.return_value
    if "refused" in answer:
        raise ConfigurationError(**answer["refused"])
    child = Bundle.unpack(answer["bundle"], where=manifest.job_id)
    return child, {"workers": float(workers), "resumed_at_step": float(answer[_STEP])}


def _gpus() -> float:
    found: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found.get("GPU", 0.0)


def storage(uri: str, settings: BlobSettings) -> tuple[str, Any]:
    """A place in the blob store as Ray names it: a path, and the file system it lies in; None for this machine's."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return unquote(parts.path), None
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415  it starts Amazon's library

    endpoint = urlsplit(settings.s3_endpoint)
    given = {
        "access_key": settings.s3_access_key.get_secret_value(),
        "secret_key": settings.s3_secret_key.get_secret_value(),
        "region": settings.s3_region,
        "scheme": endpoint.scheme,
        "endpoint_override": endpoint.netloc,
    }
    return f"{parts.netloc}{parts.path}", S3FileSystem(**{name: value for name, value in given.items() if value})


def _learn(config: dict[str, str]) -> dict[str, Any] | None:
    """What each worker does; the first returns the bundle, or why there can be none.

    A `ConfigurationError` is every worker's alike, and starting them again would not mend it; whatever else is raised
    is left to Ray.
    """
    settings = load()
    store = open_store(settings.blobs)
    folder = JobFolder(store, config["job_id"])
    manifest = DatasetManifest.from_bytes(folder.read(MANIFEST) or b"", where=folder.uri(MANIFEST))
    request = folder.require(REQUEST, JobRequest)
    with TemporaryDirectory(prefix="veristream-") as temporary:
        learn = Path(temporary) / PICTURES
        learn.write_bytes(folder.read(PICTURES) or b"")
        kept, step = _last()
        try:
            refuse_other_base(manifest, settings)
            made = training.train(
                champion(manifest.parent, request.model_uri, store, settings), manifest, learn,
                recipe=stated(manifest.recipe), base=settings.retrain.base, weights=settings.retrain.weights,
                scratch=Path(temporary) / "run", kept=kept, told=_report,
            )  # fmt: skip
        except ConfigurationError as error:
            return {"refused": {"what": error.what, "where": error.where, "remedy": error.remedy}}
    return None if made is None else {"bundle": made.pack(), _STEP: step}


def _last() -> tuple[bytes | None, int]:
    """The checkpoint to go on from, and after how many steps it was made."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None, 0
    with checkpoint.as_directory() as place:
        return (Path(place) / FILE).read_bytes(), int(checkpoint.get_metadata()[_STEP])


def _report(path: Path, step: int) -> None:
    """Hands the first worker's checkpoint to Ray; the others' turn is to say that they are as far."""
    checkpoint = None
    if ray.train.get_context().get_world_rank() == 0:
        checkpoint = Checkpoint.from_directory(path.parent)
        checkpoint.set_metadata({_STEP: step})
    ray.train.report({_STEP: step}, checkpoint=checkpoint)
