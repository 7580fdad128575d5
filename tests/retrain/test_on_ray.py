"""On a real Ray on this machine, which takes a minute; run them with RAY_TESTS=1."""

import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

if not os.environ.get("RAY_TESTS"):
    pytest.skip("RAY_TESTS is not set", allow_module_level=True)
pytest.importorskip("ray", reason="jobs on Ray need the ray extra")

from models.bundle import Bundle
from retrain.jobs import JobRequest, Jobs
from retrain.ledger import Ledger
from tests.models.adaptation import bundles
from tests.models.training import tiny
from tests.retrain.labelled import labelled
from tests.retrain.world import START, World


@pytest.mark.parametrize("kind", ["adapt", "train"])
def test_a_job_whose_worker_is_killed_goes_on(broker, tmp_path: Path, kind: str, eventually) -> None:
    parent = bundles.bundle()
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny.recipe().model_dump(mode="json")))
    site = World(broker, tmp_path, bundle=parent, executor="ray", recipe=str(recipe))
    ledger = Ledger.open(tmp_path / "ledger.db", retention_s=1e9)
    labelled(site, ledger, 25)
    runner = Jobs(site.settings, site.store, ledger, environ=site.environ)
    asked = JobRequest(model_digest=parent.digest, window="w", at=START + timedelta(hours=1), kind=kind)
    runner.open_job(asked)
    lock = site.settings.retrain.folder / "locks" / f"{asked.job_id}.lock"
    killed: list[int] = []

    def kill_the_first() -> None:
        eventually(lambda: lock.exists() and lock.read_text(), 300)
        killed.append(int(lock.read_text()))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    outcome = runner.run(asked.job_id)
    killer.join()
    ledger.close()
    assert killed
    assert int(lock.read_text()) != killed[0]
    assert Bundle.unpack(site.store.read(outcome.uri, limit=1 << 30)).manifest.parent == parent.digest
