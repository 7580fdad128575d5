from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.doubles import MemoryBroker, MemoryConsumer
from stream.flow import FlowControl
from stream.records import Partition

UPLOADS = [Partition("uploads", 0), Partition("uploads", 1)]
BACKFILL = [Partition("uploads.backfill", 0)]


class Fetcher(MemoryConsumer):
    """A consumer that says which partitions are fetched."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker(), "group")
        self.held: set[Partition] = set()

    def pause(self, partitions: Sequence[Partition]) -> None:
        self.held |= set(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        self.held -= set(partitions)


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher()


@pytest.fixture
def flow(fetcher: Fetcher) -> FlowControl:
    control = FlowControl(fetcher, max_records=10, max_bytes=1000, backfill=frozenset({"uploads.backfill"}))
    control.assign(UPLOADS + BACKFILL)
    return control


class TestFlowControl:
    @pytest.mark.parametrize(("records", "size"), [(10, 0), (0, 1000)])
    def test_too_much_in_flight_holds_everything_until_half_is_done(
        self, flow: FlowControl, fetcher: Fetcher, records: int, size: int
    ) -> None:
        flow.balance(records, size, lag=0)
        assert fetcher.held == {*UPLOADS, *BACKFILL}
        assert flow.paused
        flow.balance(records * 6 // 10, size * 6 // 10, lag=0)
        assert flow.paused
        flow.balance(records // 2, size // 2, lag=0)
        assert fetcher.held == set()
        assert not flow.paused

    def test_backfill_waits_while_uploads_wait(self, flow: FlowControl, fetcher: Fetcher) -> None:
        flow.balance(0, 0, lag=3)
        assert fetcher.held == set(BACKFILL)
        flow.balance(0, 0, lag=0)
        assert fetcher.held == set()

    def test_a_partition_assigned_while_full_is_held_too(self, flow: FlowControl, fetcher: Fetcher) -> None:
        flow.balance(10, 0, lag=0)
        late = Partition("uploads", 2)
        flow.assign([late])
        flow.balance(10, 0, lag=0)
        assert late in fetcher.held

    def test_a_revoked_partition_that_returns_is_held_anew(self, flow: FlowControl, fetcher: Fetcher) -> None:
        flow.balance(10, 0, lag=0)
        flow.revoke(UPLOADS)
        fetcher.held -= set(UPLOADS)
        flow.assign(UPLOADS)
        flow.balance(10, 0, lag=0)
        assert set(UPLOADS) <= fetcher.held

    @given(records=st.integers(0, 1000), limit=st.integers(1, 100))
    def test_room_keeps_polling_and_never_overshoots_by_more_than_one(self, records: int, limit: int) -> None:
        room = FlowControl(Fetcher(), max_records=10, max_bytes=1000).room(records, limit)
        assert 1 <= room <= limit
        assert room == 1 or records + room <= 10
