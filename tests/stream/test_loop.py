import threading
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.doubles import MemoryBroker, MemoryCommitter, MemoryConsumer
from stream.errors import BrokerUnavailable, InferenceFailed, OffsetsLost, TransactionLost, VeristreamError
from stream.records import Outgoing, Record
from tests.stream.loop_harness import SETTINGS, Echo

Eventually = Callable[..., None]


def fill(broker: MemoryBroker, count: int, topic: str = "in", first: int = 0) -> None:
    broker.append([Outgoing(topic, str(n).encode(), b"x") for n in range(first, first + count)])


def worker(broker: MemoryBroker, member: str = "one", **options: object) -> Echo:
    return Echo(MemoryConsumer(broker, "group", member), MemoryCommitter(broker, member), **options)  # type: ignore[arg-type]


def answers(broker: MemoryBroker) -> Counter[bytes | None]:
    return Counter(record.key for record in broker.records("out"))


def once(count: int) -> Counter[bytes | None]:
    return Counter(str(n).encode() for n in range(count))


class TestDelivery:
    def test_every_record_is_answered_once_and_its_offset_committed(self, eventually: Eventually) -> None:
        broker = MemoryBroker()
        fill(broker, 200)
        with worker(broker) as echo:
            eventually(lambda: len(broker.records("out")) >= 200)
            echo.stop()
        assert answers(broker) == once(200)
        assert sum(broker.committed("group").values()) == 200

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(faults=st.lists(st.sampled_from(["unavailable", "aborted", "applied", "expelled", "away"]), max_size=4))
    def test_no_fault_loses_or_repeats_an_answer(self, eventually: Eventually, faults: list[str]) -> None:
        broker = MemoryBroker()
        with worker(broker) as echo:
            for step, fault in enumerate([*faults, "none"]):
                if fault == "unavailable":
                    broker.fail_next_commit(BrokerUnavailable("no answer"))
                elif fault in ("aborted", "applied"):
                    broker.fail_next_commit(TransactionLost("no answer"), applied=fault == "applied")
                elif fault == "expelled":
                    broker.expel("group", "one")
                fill(broker, 20, first=20 * step)
                if fault == "away":
                    broker.away = True
                    broker.away = False
            total = 20 * (len(faults) + 1)
            eventually(lambda: sum(broker.committed("group").values()) >= total)
            echo.stop()
        assert answers(broker) == once(total)

    def test_two_workers_share_and_hand_over_without_loss_or_repeat(self, eventually: Eventually) -> None:
        broker = MemoryBroker()
        fill(broker, 100)
        with worker(broker, "one") as one:
            eventually(lambda: len(one.accepted) > 0)
            with worker(broker, "two") as two:
                eventually(lambda: len(set(broker.owners("group").values())) == 2)
                fill(broker, 100, first=100)
                eventually(lambda: len(two.accepted) > 0)
                two.stop()
            fill(broker, 100, first=200)
            eventually(lambda: len(broker.records("out")) >= 300)
            one.stop()
            assert one.forgotten
        assert answers(broker) == once(300)

    def test_backfill_is_read_when_uploads_are_done(self, eventually: Eventually) -> None:
        broker = MemoryBroker()
        fill(broker, 50, topic="old")
        fill(broker, 50)
        with worker(broker, backfill=["old"]) as echo:
            eventually(lambda: len(broker.records("out")) >= 100)
            echo.stop()
        assert Counter(record.topic for record in echo.accepted) == {"in": 50, "old": 50}


class TestBackPressure:
    def test_in_flight_is_bounded_and_fetching_goes_on_afterwards(self, eventually: Eventually) -> None:
        broker = MemoryBroker(partitions=1)
        gate = threading.Event()
        fill(broker, 300)
        with worker(broker, before=lambda record: gate.wait(60) and None) as echo:
            eventually(lambda: echo.count("veristream_consumer_paused") == 1)
            assert len(echo.accepted) <= SETTINGS.max_in_flight + 1
            gate.set()
            eventually(lambda: len(broker.records("out")) >= 300)
            echo.stop()
        assert answers(broker) == once(300)


class TestStopping:
    def test_what_was_accepted_is_finished(self, eventually: Eventually) -> None:
        broker = MemoryBroker(partitions=1)
        gate = threading.Event()
        fill(broker, 10)
        with worker(broker, before=lambda record: gate.wait(60) and None) as echo:
            eventually(lambda: len(echo.accepted) == 10)
            stopping = threading.Thread(target=echo.stop)
            stopping.start()
            fill(broker, 10, first=10)
            gate.set()
            stopping.join(60)
        taken = sum(broker.committed("group").values())
        assert 10 <= taken <= 20
        assert answers(broker) == once(taken)

    def test_what_takes_too_long_stays_in_the_topic(self, eventually: Eventually) -> None:
        broker = MemoryBroker(partitions=1)
        gate = threading.Event()
        fill(broker, 3)
        hasty = SETTINGS.model_copy(update={"stop_timeout_s": 0.1})
        with worker(broker, settings=hasty, before=lambda record: gate.wait(60) and None) as echo:
            eventually(lambda: len(echo.accepted) == 3)
            echo.stop()
            gate.set()
        assert broker.records("out") == []
        assert broker.committed("group") == {}

    def test_stopping_while_the_broker_was_never_there(self) -> None:
        broker = MemoryBroker()
        broker.away = True
        with worker(broker) as echo:
            echo.stop()
        assert echo.accepted == []

    def test_a_failure_stops_it_and_surfaces(self, eventually: Eventually) -> None:
        broker = MemoryBroker(partitions=1)
        fill(broker, 1)

        def refuse(record: Record) -> None:
            raise InferenceFailed("the model is broken")

        with worker(broker, before=refuse) as echo:
            eventually(echo.running.done)
            with pytest.raises(InferenceFailed, match="the model is broken"):
                echo.stop()
        assert broker.committed("group") == {}

    def test_what_the_committer_cannot_mend_surfaces(self, eventually: Eventually) -> None:
        broker = MemoryBroker()
        broker.fail_next_commit(VeristreamError("the record is too large"))
        fill(broker, 1)
        with worker(broker) as echo:
            eventually(echo.running.done)
            with pytest.raises(VeristreamError, match="too large"):
                echo.stop()

    def test_lost_offsets_surface(self, eventually: Eventually) -> None:
        broker = MemoryBroker(partitions=1)
        fill(broker, 2)
        with worker(broker) as echo:
            eventually(lambda: len(broker.records("out")) == 2)
            echo.stop()
        fill(broker, 8, first=2)
        broker.truncate(broker.partitions("in")[0], before=5)
        with worker(broker) as echo:
            eventually(echo.running.done)
            with pytest.raises(OffsetsLost):
                echo.stop()
