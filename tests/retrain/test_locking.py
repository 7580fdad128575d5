import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from retrain.jobs import locking
from retrain.jobs.locking import LEASE_S, Lease, sole
from stream.doubles import ManualClock, MemoryBlobs
from stream.errors import JobRunning

JOB = "j1"


def never() -> None:
    raise AssertionError


class Machines:
    """Several machines and one store."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = MemoryBlobs()
        self.clock = ManualClock()
        self._tmp_path = tmp_path

    def at_work(self, host: str, lost=never) -> AbstractContextManager[None]:
        return sole(self._tmp_path / host, self.store, JOB, lost=lost, clock=self.clock, host=host)

    def lease(self, host: str, until: float) -> None:
        self.store.write(
            f"jobs/{JOB}/lease.json", Lease(host=host, until=until).model_dump_json().encode(), media_type=""
        )


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


def test_another_machine_waits_until_the_job_is_given_up(machines: Machines) -> None:
    with machines.at_work("one"), pytest.raises(JobRunning, match="one is at work"), machines.at_work("two"):
        pass
    with machines.at_work("two"):
        pass


def test_another_process_of_the_machine_is_refused(machines: Machines) -> None:
    with machines.at_work("one"), pytest.raises(JobRunning, match="another process"), machines.at_work("one"):
        pass


def test_a_lost_machines_lease_runs_out_and_this_ones_own_is_left_over(machines: Machines) -> None:
    machines.lease("lost", machines.clock.now() + LEASE_S)
    with pytest.raises(JobRunning), machines.at_work("two"):
        pass
    machines.clock.advance(LEASE_S + 1)
    with machines.at_work("two"):
        pass
    machines.lease("two", machines.clock.now() + LEASE_S)
    with machines.at_work("two"):
        pass


def test_who_was_taken_for_lost_hears_of_it(machines: Machines, monkeypatch: pytest.MonkeyPatch, eventually) -> None:
    monkeypatch.setattr(locking, "LEASE_S", 0.02)
    heard = threading.Event()
    with machines.at_work("one", heard.set):
        machines.lease("two", machines.clock.now() + LEASE_S)
        eventually(heard.is_set)
    with pytest.raises(JobRunning, match="two is at work"), machines.at_work("three"):
        pass


def test_a_lease_that_cannot_be_read_is_no_lease(machines: Machines) -> None:
    machines.store.write(f"jobs/{JOB}/lease.json", b"nonsense", media_type="")
    with machines.at_work("one"):
        pass
