from datetime import timedelta
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch", reason="training needs the train extra")

from models.bundle import Bundle
from retrain.jobs import JobRequest
from retrain.jobs.folder import LABELS, REQUEST, JobFolder
from retrain.jobs.rebuilding import rebuild
from retrain.jobs.work import work
from retrain.ledger import Ledger
from retrain.manifest import DatasetManifest
from retrain.selection import select
from tests.models.adaptation import bundles
from tests.models.evaluation.collections import zipped
from tests.models.training import tiny
from tests.retrain.labelled import labelled
from tests.retrain.world import START, World, pictures


def test_a_job_may_train_by_a_recipe_and_goes_on_from_its_checkpoint(
    broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny.recipe(validations=3).model_dump(mode="json")))
    sources = {"real/base": "real", "fake/base": "fake"}
    base = zipped(
        tmp_path / "base.zip",
        {
            f"{source}/{number}.png": data
            for seed, (source, kind) in enumerate(sources.items())
            for number, data in enumerate(pictures(20, kind, 50 + seed))
        },
    )
    parent = bundles.bundle()
    site = World(broker, tmp_path, bundle=parent, recipe=str(recipe), base=(base,))
    with_labels = Ledger.open(tmp_path / "ledger.db", retention_s=1e9)
    labelled(site, with_labels, 25)
    asked = JobRequest(model_digest=parent.digest, window="w", at=START + timedelta(hours=1), kind="train")
    folder = JobFolder(site.store, asked.job_id)
    folder.write(REQUEST, asked.model_dump_json().encode())
    folder.write(LABELS, select(with_labels.labelled(), most=1000).model_dump_json().encode())
    with_labels.close()

    killed = RuntimeError("killed here")
    with monkeypatch.context() as patch:

        def kill(*_: object, **__: object) -> None:
            raise killed

        patch.setattr("models.training.closing.close", kill)
        patch.setattr("retrain.jobs.training._KEPT_EVERY_S", 0.0)
        with pytest.raises(RuntimeError, match="killed here"):
            work(folder, site.store, site.settings)
    (scratch,) = (site.settings.retrain.folder / "jobs").iterdir()
    assert list((site.blobs / "jobs" / asked.job_id).glob("checkpoint-*.npz"))
    (scratch / "checkpoints" / "checkpoint.npz").unlink()  # as on another machine, which has the job's folder only

    outcome = work(folder, site.store, site.settings)
    assert not scratch.exists()
    challenger = Bundle.unpack(site.store.read(outcome.uri, limit=1 << 30), digest=outcome.digest)
    assert (challenger.manifest.parent, challenger.manifest.created) == (parent.digest, asked.at)
    assert {source.name for source in challenger.manifest.training_data.sources} >= set(sources)
    manifest = DatasetManifest.from_bytes(site.store.read(outcome.manifest_uri, limit=1 << 30), where="manifest")
    assert set(manifest.base) == {"base.zip"}
    assert '"name":"tiny"' in manifest.recipe
    assert rebuild(asked.job_id, site.store, site.settings).same
