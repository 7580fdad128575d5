import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="adaptation needs the adapt extra")
pytest.importorskip("scipy", reason="adaptation needs the adapt extra")

from models.bundle import Bundle
from models.evaluation.pictures import index
from retrain.jobs import JobRequest, Jobs
from retrain.jobs.folder import LABELS, REQUEST, JobFolder
from retrain.jobs.locking import sole
from retrain.jobs.rebuilding import rebuild
from retrain.jobs.work import work
from retrain.ledger import Ledger
from retrain.manifest import DatasetManifest
from retrain.retention import sweep
from retrain.selection import select
from stream.blobs import Blobs
from stream.errors import (
    BlobUnavailable,
    BundleInvalid,
    DatasetUnfit,
    JobFailed,
    JobInterrupted,
    JobRunning,
)
from tests.models.adaptation import bundles
from tests.models.evaluation.collections import zipped
from tests.retrain.labelled import labelled
from tests.retrain.mlflow import MLflow
from tests.retrain.world import START, World, pictures


@pytest.fixture(scope="module")
def parent() -> Bundle:
    return bundles.bundle()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path / "ledger.db", retention_s=1e6)
    yield ledger
    ledger.close()


def jobs(site: World, ledger: Ledger, **more: str) -> Jobs:
    return Jobs(site.settings, site.store, ledger, environ={**site.environ, **more})


def request(parent: Bundle, window: str = "w1", **changes: object) -> JobRequest:
    return JobRequest(model_digest=parent.digest, window=window, at=START + timedelta(hours=1), **changes)


def test_labels_become_a_challenger_that_has_learned_them(
    broker, tmp_path: Path, ledger: Ledger, parent: Bundle, mlflow: MLflow
) -> None:
    site = World(broker, tmp_path, bundle=parent, mlflow=mlflow.address)
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
    (run,) = mlflow.runs.values()
    assert (run["name"], run["status"], run["metrics"]) == (asked.job_id, "FINISHED", outcome.figures)
    assert (run["tags"]["challenger"], run["tags"]["parent"]) == (outcome.digest, parent.digest)


@dataclass
class Failing:
    """A blob store that fails at a write, as if the process had been killed there; ``written`` names the rest."""

    store: Blobs
    fails_at: int | None
    written: list[str]

    def write(self, name: str, data: bytes, *, media_type: str) -> str:
        if len(self.written) == self.fails_at:
            raise BlobUnavailable("killed here", where=name)
        self.written.append(name.rpartition("/")[2])
        return self.store.write(name, data, media_type=media_type)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def opened(site: World, ledger: Ledger, asked: JobRequest, store: Failing) -> JobFolder:
    """A job's folder with its request and labels, in a store that may fail."""
    folder = JobFolder(site.store, asked.job_id)
    folder.write(REQUEST, asked.model_dump_json().encode())
    folder.write(LABELS, select(ledger.labelled(), most=1000).model_dump_json().encode())
    return JobFolder(store, asked.job_id)


def test_a_job_killed_at_any_write_goes_on_and_comes_to_the_same_challenger(
    broker, tmp_path: Path, ledger: Ledger, parent: Bundle
) -> None:
    site = World(broker, tmp_path, bundle=parent)
    labelled(site, ledger, 25)
    whole = Failing(site.store, None, [])
    expected = work(opened(site, ledger, request(parent, "whole"), whole), whole, site.settings)
    assert whole.written[-1] == "outcome.json"
    for fails_at in range(len(whole.written)):
        asked = request(parent, "whole", reference=f"{fails_at}")
        killed = Failing(site.store, fails_at, [])
        folder = opened(site, ledger, asked, killed)
        with pytest.raises(BlobUnavailable):
            work(folder, killed, site.settings)
        assert folder.read("outcome.json") is None
        again = Failing(site.store, None, [])
        outcome = work(JobFolder(again, asked.job_id), again, site.settings)
        assert outcome.figures["learn"] == expected.figures["learn"]
        stages = [name for name in killed.written if name.startswith("stage-")]
        assert not set(again.written) & {*stages, *(("pictures.zip",) if "stage-dataset.json" in stages else ())}
    rebuilt = rebuild(asked.job_id, site.store, site.settings)
    assert rebuilt.bundle.digest == outcome.digest == rebuilt.expected


def test_a_stage_whose_file_changed_is_done_again(broker, tmp_path: Path, ledger: Ledger, parent: Bundle) -> None:
    site = World(broker, tmp_path, bundle=parent)
    labelled(site, ledger, 40)
    store = Failing(site.store, None, [])
    folder = opened(site, ledger, request(parent), store)
    expected = work(folder, store, site.settings)
    folder.write("pictures.zip", b"something else")
    (site.blobs / "jobs" / folder.job_id / "outcome.json").unlink()
    assert work(folder, store, site.settings).digest == expected.digest
    assert rebuild(folder.job_id, site.store, site.settings).same
    folder.write("pictures.zip", b"something else")
    with pytest.raises(JobFailed, match="pictures have changed"):
        rebuild(folder.job_id, site.store, site.settings)
    newest = max(one.modified for one in site.store.stored("jobs"))
    sweep(site.store, days=400, now=newest + 401 * 86_400)
    with pytest.raises(JobFailed, match="no longer kept") as caught:
        rebuild(folder.job_id, site.store, site.settings)
    assert "VERISTREAM_RETRAIN__KEEP_DAYS" in caught.value.remedy


def test_a_killed_process_is_replaced_and_a_stopped_one_is_not(
    broker, tmp_path: Path, ledger: Ledger, parent: Bundle, eventually
) -> None:
    site = World(broker, tmp_path, bundle=parent)
    labelled(site, ledger, 40)
    runner, asked = jobs(site, ledger), request(parent)
    runner.open_job(asked)
    killed: list[int] = []

    def kill_the_first() -> None:
        eventually(lambda: runner.pid is not None)
        killed.append(runner.pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    outcome = runner.run(asked.job_id)
    killer.join()
    assert killed
    assert Bundle.unpack(site.store.read(outcome.uri, limit=1 << 30)).digest == outcome.digest
    runner.stop()
    other = request(parent, "w2")
    runner.open_job(other)
    with pytest.raises(JobInterrupted, match="stopped"):
        runner.run(other.job_id)


def test_a_job_that_cannot_go_on_says_why(
    broker, tmp_path: Path, ledger: Ledger, parent: Bundle, mlflow: MLflow
) -> None:
    site = World(broker, tmp_path, bundle=parent, mlflow=mlflow.address)
    labelled(site, ledger, 5)
    runner, asked = jobs(site, ledger), request(parent)
    runner.open_job(asked)
    why = "5 machine-made pictures that can be read again, fewer than 12; 5 authentic"
    with pytest.raises(DatasetUnfit, match=why):
        runner.run(asked.job_id)
    (run,) = mlflow.runs.values()
    assert run["status"] == "FAILED"
    assert why in run["tags"]["reason"]
    with pytest.raises(JobFailed, match="the job has no request"):
        runner.run("no such job")


def test_a_champion_that_is_nowhere_is_an_error(broker, tmp_path: Path, ledger: Ledger, parent: Bundle) -> None:
    site = World(broker, tmp_path, bundle=parent)
    store = Failing(site.store, None, [])
    asked = JobRequest(model_digest="d" * 64, window="w1", at=START)
    with pytest.raises(BundleInvalid, match="no bundle dddd"):
        work(opened(site, ledger, asked, store), store, site.settings)


def test_one_process_at_a_time_is_at_work_on_a_job(broker, tmp_path: Path, ledger: Ledger, parent: Bundle) -> None:
    site = World(broker, tmp_path, bundle=parent)
    runner, asked = jobs(site, ledger), request(parent)
    runner.open_job(asked)
    locks = site.settings.retrain.folder / "locks"
    with (
        sole(locks, site.store, asked.job_id, lost=lambda: None),
        pytest.raises(JobRunning, match="another process"),
    ):
        runner.run(asked.job_id)


def test_no_process_is_started_to_be_told_that_another_is_at_work(
    broker, tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, mlflow: MLflow
) -> None:
    site = World(broker, tmp_path, mlflow=mlflow.address)
    runner, asked = jobs(site, ledger), JobRequest(model_digest="d" * 64, window="w1", at=START)
    runner.open_job(asked)
    monkeypatch.setattr(sys, "executable", "/nowhere")
    locks = site.settings.retrain.folder / "locks"
    for _ in range(3):
        with sole(locks, site.store, asked.job_id, lost=lambda: None), pytest.raises(JobRunning):
            runner.run(asked.job_id)
    # Nor is the work of the other called a failure.
    assert not mlflow.runs
    with pytest.raises(FileNotFoundError):
        runner.run(asked.job_id)


def test_a_job_ends_with_whoever_started_it(broker, tmp_path: Path, parent: Bundle) -> None:
    site = World(broker, tmp_path, bundle=parent)
    ended = subprocess.run(
        [sys.executable, "-m", "retrain.jobs", "0123"], stdin=subprocess.DEVNULL, capture_output=True,
        env={**os.environ, **site.environ}, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 75
    assert ended.stdout == b""


def test_an_opened_job_keeps_its_first_request(broker, tmp_path: Path, ledger: Ledger, parent: Bundle) -> None:
    runner = jobs(World(broker, tmp_path), ledger)
    asked = request(parent)
    runner.open_job(asked)
    runner.open_job(asked.model_copy(update={"trigger": "another"}))
    assert runner.request(asked.job_id) == asked
    assert runner.request("another") is None


def test_golden_pictures_that_were_uploaded_are_never_learned(
    broker, tmp_path: Path, ledger: Ledger, parent: Bundle
) -> None:
    content = {
        f"{side}/lab/{n}.png": data
        for side in ("real", "fake")
        for n, data in enumerate(pictures(5, f"{side}2", int(side == "real")))
    }
    golden = zipped(tmp_path / "golden.zip", content)
    site = World(broker, tmp_path, bundle=parent, golden=str(golden))
    labelled(site, ledger, 40)
    store = Failing(site.store, None, [])
    outcome = work(opened(site, ledger, request(parent), store), store, site.settings)
    assert outcome.figures["golden"] == 10
    manifest = DatasetManifest.from_bytes(site.store.read(outcome.manifest_uri, limit=1 << 30), where="manifest")
    assert not {hashlib.sha256(data).hexdigest() for data in content.values()} & {
        picture.sha256 for picture in manifest.pictures
    }
