"""On a real Ray on this machine, which takes minutes; run them with RAY_TESTS=1."""

import faulthandler
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

if not os.environ.get("RAY_TESTS"):
    pytest.skip("RAY_TESTS is not set", allow_module_level=True)
pytest.importorskip("ray", reason="jobs on Ray need the ray extra")

from ray.autoscaler.v2.sdk import get_cluster_status
from ray.cluster_utils import Cluster

from models.bundle import Bundle
from models.registry import Registry
from retrain.jobs import JobRequest, Jobs, Outcome
from retrain.jobs.on_ray_train import storage
from retrain.ledger import Ledger
from retrain.manifest import DatasetManifest
from stream.blobs import open_store
from stream.errors import JobFailed
from stream.settings import BlobSettings
from tests.models.adaptation import bundles
from tests.models.training import tiny
from tests.retrain.labelled import labelled
from tests.retrain.world import START, World

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(autouse=True)
def _patient() -> None:
    """Ray starts a dozen processes, which takes minutes where others work."""
    faulthandler.cancel_dump_traceback_later()


def asked(parent: Bundle, kind: str) -> JobRequest:
    return JobRequest(model_digest=parent.digest, window="w", at=START + timedelta(hours=1), kind=kind)


def killed_once(
    site: World, request: JobRequest, victim: Callable[[int], int | None], eventually
) -> tuple[Outcome, int]:
    """A job's outcome, and which process was killed: the first that ``victim`` names, given the job's own."""
    ledger = Ledger.open(site.settings.retrain.folder / "ledger.db", retention_s=1e9)
    labelled(site, ledger, 25)
    runner = Jobs(site.settings, site.store, ledger, environ=site.environ)
    runner.open_job(request)
    killed: list[int] = []

    def found() -> bool:
        pid = victim(runner.pid) if runner.pid else None
        killed.extend([pid] if pid else [])
        return bool(killed)

    def kill() -> None:
        eventually(found, 600)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = runner.run(request.job_id)
    killer.join()
    assert runner.run(request.job_id) == outcome
    ledger.close()
    return outcome, killed[0]


def run(site: World, request: JobRequest) -> Outcome:
    ledger = Ledger.open(site.settings.retrain.folder / "ledger.db", retention_s=1e9)
    labelled(site, ledger, 25)
    runner = Jobs(site.settings, site.store, ledger, environ=site.environ)
    runner.open_job(request)
    try:
        return runner.run(request.job_id)
    finally:
        ledger.close()


# Holds the cluster's only CPU until its stdin is closed.
BUSY = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
class Holder:
    def there(self):
        return True
holder = Holder.remote()
ray.get(holder.there.remote())
print("busy", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def small_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of one CPU."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


def test_a_lesson_whose_worker_is_killed_goes_on(broker, tmp_path: Path, eventually) -> None:
    parent = bundles.bundle()
    site = World(broker, tmp_path, bundle=parent, executor="ray")
    locks = site.settings.retrain.folder / "locks"

    def holder(_: int) -> int | None:
        return next((int(lock.read_text()) for lock in locks.glob("*.lock") if lock.read_text()), None)

    outcome, killed = killed_once(site, asked(parent, "adapt"), holder, eventually)
    assert holder(0) != killed
    assert Bundle.unpack(site.store.read(outcome.uri, limit=1 << 30)).manifest.parent == parent.digest


@pytest.mark.parametrize("victim", ["worker", "job"])
def test_a_training_run_that_is_killed_goes_on_from_its_checkpoint(
    broker, tmp_path: Path, eventually, victim: str
) -> None:
    parent = bundles.bundle()
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny.recipe(steps=100, validations=20).model_dump(mode="json")))
    site = World(broker, tmp_path, bundle=parent, executor="ray", recipe=str(recipe), workers=2)

    def doomed(job: int) -> int | None:
        if not list(site.blobs.glob("jobs/*/ray/*/checkpoint_manager_snapshot.json")):
            return None
        if victim == "job":
            return job
        return next((pid for pid in descendants(job) if title(pid).startswith("ray::RayTrainWorker")), None)

    outcome, _ = killed_once(site, asked(parent, "train"), doomed, eventually)
    assert outcome.figures["workers"] == 2
    assert 0 < outcome.figures["resumed_at_step"] < 100
    assert outcome.figures["resumed_at_step"] % 5 == 0
    challenger = Bundle.unpack(site.store.read(outcome.uri, limit=1 << 30), digest=outcome.digest)
    assert challenger.manifest.parent == parent.digest
    manifest = DatasetManifest.from_bytes(site.store.read(outcome.manifest_uri, limit=1 << 30), where="manifest")
    assert manifest.workers == 2
    registry = Registry(site.store)
    assert registry.register(challenger) == registry.register(challenger)
    assert [path.parent.name for path in site.blobs.glob("bundles/*/bundle.tar")] == [outcome.digest]


@pytest.mark.parametrize("kind", ["adapt", "train"])
def test_a_cluster_that_never_has_the_cpus_fails_the_job_at_once(broker, tmp_path: Path, small_cluster, kind) -> None:
    parent = bundles.bundle()
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny.recipe(steps=1).model_dump(mode="json")))
    site = World(
        broker, tmp_path, bundle=parent, executor="ray", ray_address=small_cluster, threads=2, recipe=str(recipe)
    )
    with pytest.raises(JobFailed, match=r"1 × 2 CPUs are asked for, .* have 1 ") as failed:
        run(site, asked(parent, kind))
    assert failed.value.where == small_cluster


def test_a_busy_cluster_is_waited_for(broker, tmp_path: Path, small_cluster, eventually) -> None:
    parent = bundles.bundle()
    site = World(broker, tmp_path, bundle=parent, executor="ray", ray_address=small_cluster, threads=1)
    busy = subprocess.Popen([sys.executable, "-c", BUSY, small_cluster], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with busy, ThreadPoolExecutor(1) as pool:
        assert busy.stdout.readline() == b"busy\n"
        job = pool.submit(run, site, asked(parent, "adapt"))
        eventually(lambda: job.done() or get_cluster_status(small_cluster).resource_demands.ray_task_actor_demand, 300)
        assert not job.done()
        busy.stdin.close()
        assert Bundle.unpack(site.store.read(job.result().uri, limit=1 << 30)).manifest.parent == parent.digest


@pytest.mark.s3
def test_ray_keeps_checkpoints_where_the_blob_store_is(s3_server) -> None:
    settings = BlobSettings(
        store=f"s3://{s3_server.name}/some/prefix", s3_endpoint=s3_server.endpoint,
        s3_access_key=s3_server.access_key, s3_secret_key=s3_server.secret_key,
    )  # fmt: skip
    store = open_store(settings)
    path, files = storage(store.uri("jobs/one/ray"), settings)
    with files.open_output_stream(f"{path}/checkpoint.npz") as out:
        out.write(b"weights")
    assert store.read(store.uri("jobs/one/ray/checkpoint.npz"), limit=10) == b"weights"


def title(pid: int) -> str:
    """What a process calls itself; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, waiting = list[int](), [pid]
    while waiting:
        children = [child for child, parent in parents.items() if parent in waiting]
        found += children
        waiting = children
    return found
