from datetime import timedelta
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch", reason="training needs the train extra")

from models.bundle import Bundle
from models.recipes import load
from models.training.train import train
from retrain.jobs import JobRequest
from retrain.jobs.folder import LABELS, REQUEST, JobFolder
from retrain.jobs.rebuilding import rebuild
from retrain.jobs.work import work
from retrain.ledger import Ledger
from retrain.manifest import DatasetManifest
from retrain.selection import select
from stream.errors import ConfigurationError
from tests.models.adaptation import bundles
from tests.models.evaluation.collections import zipped
from tests.models.training import tiny
from tests.retrain.labelled import labelled
from tests.retrain.world import START, World, pictures


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny.recipe(validations=3).model_dump(mode="json")))
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return zipped(
        tmp_path / "base.zip",
        {
            f"{source}/{number}.png": data
            for seed, (source, kind) in enumerate({"real/base": "real", "fake/base": "fake"}.items())
            for number, data in enumerate(pictures(20, kind, 50 + seed))
        },
    )


def opened(site: World, tmp_path: Path, parent: Bundle) -> tuple[JobFolder, JobRequest]:
    """A job that was asked for, its labels chosen."""
    ledger = Ledger.open(tmp_path / "ledger.db", retention_s=1e9)
    labelled(site, ledger, 25)
    asked = JobRequest(model_digest=parent.digest, window="w", at=START + timedelta(hours=1), kind="train")
    folder = JobFolder(site.store, asked.job_id)
    folder.write(REQUEST, asked.model_dump_json().encode())
    folder.write(LABELS, select(ledger.labelled(), most=1000).model_dump_json().encode())
    ledger.close()
    return folder, asked


def test_a_job_may_train_by_a_recipe_and_goes_on_from_its_checkpoint(
    broker, tmp_path: Path, recipe: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = bundles.bundle()
    site = World(broker, tmp_path, bundle=parent, recipe=str(recipe), base=(base,))
    folder, asked = opened(site, tmp_path, parent)

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
    assert {source.name for source in challenger.manifest.training_data.sources} >= {"real/base", "fake/base"}
    manifest = DatasetManifest.from_bytes(site.store.read(outcome.manifest_uri, limit=1 << 30), where="manifest")
    assert set(manifest.base) == {"base.zip"}
    assert '"name":"tiny"' in manifest.recipe
    assert rebuild(asked.job_id, site.store, site.settings).same


def test_a_job_may_go_on_from_the_champions_weights(broker, tmp_path: Path, recipe: Path, base: Path) -> None:
    trained = train([base], tmp_path / "champion", load(str(recipe)), threads=1)
    assert trained is not None
    files = {name: data for name, data in trained.files.items() if name != "manifest.json"}
    parent = Bundle.build(trained.manifest.model_copy(update={"version": "1+a2"}), files)
    site = World(broker, tmp_path, bundle=parent, recipe=str(recipe), start="champion")
    folder, asked = opened(site, tmp_path, parent)
    outcome = work(folder, site.store, site.settings)
    challenger = Bundle.unpack(site.store.read(outcome.uri, limit=1 << 30), digest=outcome.digest)
    assert any("had 2 lessons" in line for line in outcome.warnings)
    assert challenger.manifest.start == challenger.manifest.parent == parent.digest
    manifest = DatasetManifest.from_bytes(site.store.read(outcome.manifest_uri, limit=1 << 30), where="manifest")
    assert manifest.start == "champion"
    recipe.unlink()  # what was written down is what counts, not what the settings say by now
    changed = site.settings.model_copy(
        update={"retrain": site.settings.retrain.model_copy(update={"start": "recipe", "recipe": "default"})}
    )
    assert rebuild(asked.job_id, site.store, changed).same
    other = changed.model_copy(update={"retrain": changed.retrain.model_copy(update={"base": (base,)})})
    with pytest.raises(ConfigurationError, match="not those of the job's manifest, none"):
        rebuild(asked.job_id, site.store, other)


def test_a_champion_without_weights_is_no_start_and_no_picture_is_read(broker, tmp_path: Path, recipe: Path) -> None:
    parent = bundles.bundle()
    site = World(broker, tmp_path, bundle=parent, recipe=str(recipe), start="champion")
    folder, _ = opened(site, tmp_path, parent)
    with pytest.raises(ConfigurationError, match="keeps no weights") as caught:
        work(folder, site.store, site.settings)
    assert "VERISTREAM_RETRAIN__START=recipe" in caught.value.remedy
    assert folder.read("stage-dataset.json") is None
