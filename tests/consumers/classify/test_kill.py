"""A worker in a process of its own, killed in the middle of its work."""

import json

import pytest

from compose.embedded.processes import ChildProcess, veristream_command
from models.bundle import Bundle
from stream.tail import KafkaTail
from tests.consumers.site import Site
from tests.models.pictures import encoded, gradient
from tests.models.tiny import tiny_bundle

UPLOADS = 600


@pytest.fixture
def bundle(tmp_path):
    tiny_bundle().save(tmp_path / "bundle")
    return tmp_path / "bundle"


def process(site: Site, bundle, folder) -> ChildProcess:
    command = veristream_command("worker", "--bundle", str(bundle), "--provider", "cpu")
    return ChildProcess("worker", command, folder, env=site.environment())


@pytest.fixture
def mid_run(any_broker, make_site, bundle, tmp_path):
    """A site with all its uploads sent, and a worker that was killed three times on its way through them."""
    site = make_site(any_broker)
    names = [f"up-{number}" for number in range(UPLOADS)]
    picture = encoded(gradient(300, 200), "PNG")
    with process(site, bundle, tmp_path) as worker:
        for life in range(4):
            worker.start()
            said = json.loads(worker.wait_for_line("ready", 60).string)
            assert said["bundle"]["digest"] == Bundle.named(str(bundle)).digest
            part = names[life * UPLOADS // 4 : (life + 1) * UPLOADS // 4]
            site.send([site.upload(name, picture) for name in part])
            if life < 3:
                site.wait_answered(life * UPLOADS // 4 + 30)
                worker.kill()
        _wait_for_all(site, names)
        worker.terminate(60)
        assert worker.exit_code == 0
    return site, names


def _wait_for_all(site: Site, names: list[str]) -> None:
    tail, missing = KafkaTail(site.settings.kafka, site.topics["verdicts"], client_id="waiter"), set(names)
    for _ in range(600):
        missing -= {(record.key or b"").decode() for record in tail.poll(0.1)}
        if not missing:
            break
    tail.close()
    assert not missing


def test_sigkill_loses_nothing_and_repeats_nothing(mid_run, any_broker):
    site, names = mid_run
    answered = [verdict.upload_id for verdict in site.verdicts()]
    assert set(answered) == set(names)
    assert site.letters() == {}
    if not site.settings.kafka.embedded:
        # The mock cluster shows what a killed worker left uncommitted, so there it cannot be told from a repetition.
        assert len(answered) == len(names)
        assert len(site.read("embeddings")) == len(names)


def test_sigterm_ends_it_well_and_a_wrong_flag_is_explained(embedded_broker, make_site, bundle, tmp_path):
    site = make_site(embedded_broker)
    with process(site, bundle, tmp_path) as worker:
        worker.start()
        worker.wait_for_line('"event": "ready"', 60)
        assert worker.terminate(60) == 0
    for arguments, word in ((["--bundel", "x"], "--bundle"), (["--delivery", "twice"], "exactly_once")):
        with ChildProcess("wrong", veristream_command("worker", *arguments), tmp_path) as wrong:
            wrong.start()
            assert wrong.wait(60) == 2
            assert word in wrong.tail()
    with ChildProcess("nowhere", veristream_command("worker", "--bundle", str(tmp_path / "none")), tmp_path) as nowhere:
        nowhere.start()
        assert nowhere.wait(60) == 1
        assert "no bundle can be read" in nowhere.tail()
