"""What a job does, stage by stage: pictures, dataset, challenger, outcome."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.bundle import MAX_BYTES, Bundle
from models.recipes import Finetune, load, stated
from models.registry import Registry
from models.training.checkpoints import nobody
from retrain import dataset
from retrain.golden import contents
from retrain.jobs import adapting, training
from retrain.jobs.folder import CHALLENGER, LABELS, MANIFEST, OUTCOME, PICTURES, REQUEST, SLICE, JobFolder, Made, sha256
from retrain.jobs.request import JobRequest, Outcome
from retrain.manifest import DatasetManifest, libraries
from retrain.pictures import Pictures
from retrain.quality import Needs
from retrain.selection import Selection
from stream.errors import ConfigurationError, JobFailed
from stream.ports import VersionedStore
from stream.settings import RetrainSettings, Settings

_CHUNK = 1 << 20
_DECIDING = {
    "fewest_labels", "fewest_held_out", "held_out", "reviewer_share", "golden", "recipe", "start", "base", "threads",
    "executor", "workers",
}  # fmt: skip


def work(folder: JobFolder, store: VersionedStore, settings: Settings) -> Outcome:
    """Does a job, or what is left of it.

    Args:
        folder: The job's, with its request and labels.
        store: Where pictures and the champion lie.
        settings: Of everything.

    Raises:
        DatasetUnfit: The labelled pictures make no set to learn from.
        VeristreamError: Anything else that the job cannot go on from.
    """
    done = folder.read_as(OUTCOME, Outcome)
    if done is not None:
        return done
    request, selection = folder.require(REQUEST, JobRequest), folder.require(LABELS, Selection)
    parent = champion(request.model_digest, request.model_uri, store, settings)
    gathered, files = folder.stage(
        "dataset",
        {
            "request": sha256(request.model_dump_json().encode()),
            "labels": sha256(selection.model_dump_json().encode()),
            "settings": settings.retrain.model_dump_json(include=_DECIDING),
        },
        lambda: _gathered(request, selection, store, settings, parent),
    )
    manifest = DatasetManifest.from_bytes(files[MANIFEST], where=folder.uri(MANIFEST))
    learned, made = folder.stage(
        "challenger", {"manifest": manifest.digest}, lambda: _learned(parent, manifest, files, settings, folder)
    )
    challenger = Bundle.unpack(made[CHALLENGER], where=folder.uri(CHALLENGER))
    outcome = Outcome(
        job_id=folder.job_id,
        digest=challenger.digest,
        uri=folder.uri(CHALLENGER),
        slice_uri=folder.uri(SLICE),
        lesson_uri=folder.uri(PICTURES),
        manifest_uri=folder.uri(MANIFEST),
        manifest=manifest.digest,
        figures={**gathered.figures, **learned.figures},
        warnings=manifest.warnings,
    )
    folder.write(OUTCOME, outcome.model_dump_json(indent=1).encode())
    return outcome


def champion(digest: str, uri: str | None, store: VersionedStore, settings: Settings) -> Bundle:
    """The bundle that a job starts from: at its URI, else as the workers start with it, else from the registry.

    Raises:
        BundleInvalid: It is nowhere, is another one, or has changed.
    """
    if uri is not None:
        return Bundle.unpack(store.read(uri, limit=MAX_BYTES), digest=digest, where=uri)
    first = Bundle.named(settings.worker.bundle)
    return first if first.digest == digest else Registry(store).open(digest)


def relearned(
    parent: Bundle, manifest: DatasetManifest, learn: bytes, settings: Settings, *, folder: JobFolder | None = None
) -> tuple[Bundle, dict[str, float]]:
    """The challenger of a manifest, made anew; a training run keeps its checkpoint in the job's folder, if given."""
    with TemporaryDirectory(prefix="veristream-") as temporary:
        path = Path(temporary) / PICTURES
        path.write_bytes(learn)
        if manifest.kind == "adapt":
            return adapting.adapt(parent, manifest, path)
        refuse_other_base(manifest, settings)
        retrain, run = settings.retrain, manifest.digest[:16]
        checkpoint = f"checkpoint-{run}.npz"
        made = training.train(
            parent, manifest, path, recipe=stated(manifest.recipe), base=retrain.base, weights=retrain.weights,
            scratch=retrain.folder.expanduser() / "jobs" / run if folder else Path(temporary) / "run",
            kept=folder.read(checkpoint) if folder else None,
            told=training.Keeping(lambda data: folder.write(checkpoint, data)) if folder else nobody,
        )  # fmt: skip
        if made is None:
            raise JobFailed("this process is not the first of the training run", where=manifest.job_id)
        return made, {}


def refuse_other_base(manifest: DatasetManifest, settings: Settings) -> None:
    """Keeps a run from learning from other pictures than its manifest names, here or on another machine.

    Raises:
        ConfigurationError: The base is another one, or cannot be read.
    """
    if _base(settings.retrain.base) != manifest.base:
        what = f"the base pictures here are not those of the job's manifest, {', '.join(manifest.base) or 'none'}"
        raise ConfigurationError(what, where="VERISTREAM_RETRAIN__BASE", remedy="Name the zips that it learned from")


def _gathered(
    request: JobRequest, selection: Selection, store: VersionedStore, settings: Settings, parent: Bundle
) -> Made:
    started, retrain = time.monotonic(), settings.retrain
    warnings: tuple[str, ...] = ()
    if request.kind == "train" and retrain.start == "champion":
        warnings = training.check(parent, load(retrain.recipe))
    pictures = Pictures(settings.kafka, store, limit=settings.images.max_bytes)
    built = dataset.build(
        selection.chosen,
        pictures.find(
            {one.upload_id: one.upload_at for one in selection.chosen},
            {one.upload_id: one.kept for one in selection.chosen if one.kept},
        ),
        job_id=request.job_id,
        needs=Needs(retrain.fewest_labels, retrain.fewest_held_out),
        share=retrain.held_out,
        reviewer_share=retrain.reviewer_share,
        never=contents(retrain.golden, store),
    )
    fates = {str(fate): count for fate, count in pictures.fates.items()}
    counts = {**selection.counts, **fates, **built.counts}
    manifest = DatasetManifest(
        job_id=request.job_id,
        kind=request.kind,
        created=request.at,
        parent=request.model_digest,
        seed=request.seed,
        held_out=retrain.held_out,
        threads=retrain.threads,
        pictures=built.pictures,
        counts=counts,
        warnings=(*warnings, *built.warnings),
        files={PICTURES: sha256(built.learn), SLICE: sha256(built.slice)},
        **(_training(retrain) if request.kind == "train" else {"base": {}}),
        libraries=libraries(),
    )
    files = {PICTURES: built.learn, SLICE: built.slice, MANIFEST: manifest.to_bytes()}
    figures = {**counts, "dataset_seconds": round(time.monotonic() - started, 2)}
    return Made(files, {name: float(value) for name, value in figures.items()})


def _learned(
    parent: Bundle, manifest: DatasetManifest, files: Mapping[str, bytes], settings: Settings, folder: JobFolder
) -> Made:
    started = time.monotonic()
    if manifest.kind == "train" and settings.retrain.executor == "ray":
        from retrain.jobs.on_ray_train import trained  # noqa: PLC0415  Ray is an extra, and seconds to load

        child, figures = trained(folder, manifest, settings)
    else:
        child, figures = relearned(parent, manifest, files[PICTURES], settings, folder=folder)
    learned = time.monotonic()
    with TemporaryDirectory(prefix="veristream-") as temporary:
        path = Path(temporary) / SLICE
        path.write_bytes(files[SLICE])
        figures |= adapting.compared(parent, child, path, threads=manifest.threads)
    figures |= {
        "learning_seconds": round(learned - started, 2),
        "comparing_seconds": round(time.monotonic() - learned, 2),
    }
    return Made({CHALLENGER: child.pack()}, figures)


def _training(retrain: RetrainSettings) -> dict[str, Any]:
    """What a manifest says of a job of kind train: all that decides how it learns."""
    recipe = load(retrain.recipe)
    several = retrain.executor == "ray" and isinstance(recipe, Finetune)
    return {
        "recipe": recipe.model_dump_json(),
        "start": retrain.start,
        "workers": retrain.workers if several else 1,
        "base": _base(retrain.base),
    }


def _base(paths: tuple[Path, ...]) -> dict[str, str]:
    """Names and digests of the zips that are learned from beside the labels.

    Raises:
        ConfigurationError: One cannot be read, or is a folder: what lies in a folder can change unseen.
    """
    found = {}
    for path in paths:
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise ConfigurationError(
                f"the base pictures cannot be read: {error.strerror}", where=str(path), remedy="Give a zip"
            ) from error
        found[path.name] = digest.hexdigest()
    return found
