from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="adaptation needs the adapt extra")
pytest.importorskip("scipy", reason="adaptation needs the adapt extra")

from models.bundle import Bundle
from models.evaluation.pictures import index
from retrain.jobs import JobRequest, Jobs
from retrain.ledger import Ledger
from retrain.manifest import DatasetManifest
from tests.models.adaptation import bundles
from tests.retrain import world
from tests.retrain.world import START, World

REVIEWERS = ("ann", "ben", "cem", "dora", "eve")


@pytest.fixture(scope="module")
def parent() -> Bundle:
    return bundles.bundle()


def labelled(site: World, ledger: Ledger, each: int, *, reviewers: tuple[str, ...] = REVIEWERS) -> None:
    """Pictures of a new place, uploaded, judged and labelled."""
    made = {}
    for seed, kind in enumerate(("fake2", "real2")):
        made |= {f"{kind}-{number}": data for number, data in enumerate(world.pictures(each, kind, seed))}
    site.upload({upload_id: site.claim(data) for upload_id, data in made.items()})
    ledger.add([world.verdict(upload_id, place=site.where[upload_id]) for upload_id in made])
    ledger.add(
        labels=[
            world.label(
                upload_id, "ai_generated" if upload_id.startswith("fake") else "authentic",
                reviewers[number % len(reviewers)],
            )
            for number, upload_id in enumerate(made)
        ]
    )  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger.open(tmp_path / "ledger.db", retention_s=1e6)
    yield ledger
    ledger.close()


def jobs(site: World, ledger: Ledger, **more: str) -> Jobs:
    return Jobs(site.settings, site.store, ledger, environ={**site.environ, **more})


def request(parent: Bundle, window: str = "w1", **changes: object) -> JobRequest:
    return JobRequest(model_digest=parent.digest, window=window, at=START + timedelta(hours=1), **changes)


def test_labels_become_a_challenger_that_has_learned_them(
    broker, tmp_path: Path, ledger: Ledger, parent: Bundle
) -> None:
    site = World(broker, tmp_path, bundle=parent)
    labelled(site, ledger, 60)
    runner, asked = jobs(site, ledger), request(parent)
    runner.open_job(asked)
    outcome = runner.run(asked.job_id)
    assert outcome.figures["auc_slice"] > outcome.figures["auc_slice_before"] + 0.1
    challenger = Bundle.unpack(site.store.read(outcome.uri, limit=1 << 30), digest=outcome.digest)
    assert (challenger.manifest.parent, challenger.manifest.created) == (parent.digest, asked.at)
    manifest = DatasetManifest.from_bytes(site.store.read(outcome.manifest_uri, limit=1 << 30), where="manifest")
    assert manifest.digest == outcome.manifest
    learn, held = (
        {picture.sha256 for picture in manifest.pictures if picture.part == part} for part in ("learn", "slice")
    )
    assert learn
    assert held
    assert not learn & held
    path = tmp_path / "slice.zip"
    path.write_bytes(site.store.read(outcome.slice_uri, limit=1 << 30))
    (collection,) = index([path])
    assert {entry.source for entry in collection.entries} == {
        f"{side}/acme-{asked.job_id[:8]}" for side in ("real", "fake")
    }
    assert runner.run(asked.job_id) == outcome
