import threading

from hypothesis import given
from hypothesis import strategies as st

from stream.inflight import Ledger
from stream.records import Outgoing, Partition, Record


def record(partition: int, offset: int, size: int = 10) -> Record:
    return Record("in", partition, offset, 0, b"k", b"x" * size, ())


def answer(taken: Record) -> list[Outgoing]:
    return [Outgoing("out", f"{taken.partition}:{taken.offset}".encode(), b"")]


class TestLedger:
    def test_answers_out_of_order_wait_for_the_first(self) -> None:
        ledger = Ledger()
        first, second = record(0, 5), record(0, 7)
        ledger.add([first, second])
        ledger.complete(second, answer(second))
        assert ledger.release(10).records == 0
        ledger.complete(first, answer(first))
        release = ledger.release(10)
        assert [out.key for out in release.outputs] == [b"0:5", b"0:7"]
        assert release.offsets == {Partition("in", 0): 8}

    def test_a_release_is_taken_again_until_it_is_confirmed(self) -> None:
        ledger = Ledger()
        ledger.add([record(0, 0)])
        ledger.complete(record(0, 0), answer(record(0, 0)))
        assert ledger.release(10) == ledger.release(10)
        ledger.confirm(ledger.release(10))
        assert ledger.release(10).records == 0
        assert (ledger.records, ledger.bytes) == (0, 0)

    def test_an_answer_for_a_revoked_partition_is_dropped(self) -> None:
        ledger = Ledger()
        ledger.add([record(0, 0), record(1, 0)])
        ledger.drop([Partition("in", 0)])
        assert not ledger.complete(record(0, 0), [])
        assert ledger.complete(record(1, 0), [])
        assert ledger.records == 1

    def test_a_record_that_is_answered_twice_counts_once(self) -> None:
        ledger = Ledger()
        ledger.add([record(0, 0)])
        assert ledger.complete(record(0, 0), answer(record(0, 0)))
        assert not ledger.complete(record(0, 0), answer(record(0, 0)))
        assert len(ledger.release(10).outputs) == 1

    def test_waiting_ends_with_an_answer_and_not_before(self) -> None:
        ledger = Ledger()
        ledger.add([record(0, 0)])
        assert not ledger.wait(0.0)
        answering = threading.Thread(target=ledger.complete, args=(record(0, 0), []))
        answering.start()
        assert ledger.wait(60.0)
        assert not ledger.wait(0.0)
        answering.join()

    @given(st.data())
    def test_every_record_is_released_once_and_in_order(self, data: st.DataObject) -> None:
        lengths = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
        records = [record(lane, offset) for lane, length in enumerate(lengths) for offset in range(length)]
        order = data.draw(st.permutations(records))
        limit = data.draw(st.integers(1, 5))
        ledger = Ledger()
        ledger.add(records)
        seen: list[bytes | None] = []
        committed: dict[Partition, int] = {}
        for taken in order:
            ledger.complete(taken, answer(taken))
            release = ledger.release(limit)
            assert release.records <= limit
            if data.draw(st.booleans()):
                ledger.confirm(release)
                seen += [out.key for out in release.outputs]
                committed |= release.offsets
        while (release := ledger.release(limit)).records:
            ledger.confirm(release)
            seen += [out.key for out in release.outputs]
            committed |= release.offsets
        for lane, length in enumerate(lengths):
            keys = [key for key in seen if key is not None and key.startswith(f"{lane}:".encode())]
            assert keys == [f"{lane}:{offset}".encode() for offset in range(length)]
            assert committed.get(Partition("in", lane), 0) == length
        assert (ledger.records, ledger.bytes) == (0, 0)
