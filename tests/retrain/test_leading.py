"""Two coordinators: one is at work, the other stands by."""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from models.registry import Registry
from models.slotbook import history
from retrain import leading, service
from retrain.jobs import locking
from retrain.jobs.locking import LEASE_S, Lease
from stream import messages
from stream.clock import SystemClock
from stream.errors import JobRunning
from stream.events import RetrainStep
from stream.settings import Settings
from stream.snapshot import read_all
from stream.topics import layout
from tests.models.adaptation import bundles
from tests.retrain.world import World


@pytest.fixture(autouse=True)
def _asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "_ASK_S", 0.05)


class Instance:
    """A coordinator in a thread of this process, with a folder of its own."""

    def __init__(self, site: World, folder: Path, pool: ThreadPoolExecutor) -> None:
        retrain = site.settings.retrain.model_copy(update={"folder": folder, "every_s": 0.001, "cooldown_s": 3600.0})
        self.settings: Settings = site.settings.model_copy(update={"retrain": retrain})
        self.stop, self.ready = threading.Event(), threading.Event()
        self._pool = pool

    def start(self) -> "Future[None]":
        return self._pool.submit(service.run, self.settings, self.stop, lambda _: self.ready.set())


@pytest.fixture
def site(broker, tmp_path: Path) -> World:
    site = World(broker, tmp_path, bundle=bundles.bundle())
    for plain in ("retrain", "drift", "models", "verdicts.shadow"):
        topic = layout(site.settings.topics)[plain]
        broker.create_topic(topic.name, topic.partitions)
    return site


@pytest.fixture
def two(site, tmp_path):
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        both = [Instance(site, tmp_path / name, pool) for name in ("one", "two")]
        for instance in both:
            stack.callback(instance.stop.set)
        yield both


def steps(site: World) -> list[str]:
    topic = site.topics["retrain"]
    return [messages.decode(record, RetrainStep).step for record in read_all(site.settings.kafka, [topic])]


def test_the_second_stands_by_until_the_first_has_ended(site, two, eventually, caplog):
    one, other = two
    running = one.start()
    eventually(one.ready.is_set)
    with caplog.at_level(logging.INFO, "veristream.retrain"):
        waiting = other.start()
        eventually(lambda: "standing by" in caplog.text)
        eventually(lambda: steps(site))
        assert not other.ready.is_set()
        one.stop.set()
        running.result(60)
        eventually(other.ready.is_set)
        assert "taking over" in caplog.text
    other.stop.set()
    waiting.result(60)
    # Due at once by its schedule, the job was asked for by the first alone, and found by the second.
    assert steps(site) == ["requested"]
    assert [change.action for change in history(Registry(site.store))] == ["promote"]


def test_who_was_taken_for_lost_ends_and_says_so(site, two, eventually, monkeypatch):
    one, _ = two
    monkeypatch.setattr(locking, "LEASE_S", 0.2)
    running = one.start()
    eventually(one.ready.is_set)
    lease = Lease(host="another", until=SystemClock().now() + LEASE_S)
    site.store.write(leading.LEASE, lease.model_dump_json().encode(), media_type="application/json")
    with pytest.raises(JobRunning, match="took over"):
        running.result(60)


def test_who_is_stopped_while_standing_by_ends_in_peace(two, eventually, caplog):
    one, other = two
    one.start()
    eventually(one.ready.is_set)
    waiting = other.start()
    eventually(lambda: "standing by" in caplog.text)
    other.stop.set()
    waiting.result(60)
    assert not other.ready.is_set()
