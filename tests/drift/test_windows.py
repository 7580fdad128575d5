from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drift.windows import Key, Sighting, Window, Windows, read_ends
from stream.embeddings import Embedding
from stream.records import Partition

AT = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = 5


def sighting(number: int, partition: int, offset: int, tenant: str = "t", digest: str = "m") -> Sighting:
    embedding = Embedding(f"u{number}", np.ones(3, np.float16), digest, 0.5, tenant, AT)
    return Sighting(embedding, Partition("embeddings", partition), offset)


def fed(windows: Windows, log: list[Sighting], now: float = 0.0) -> list[Window]:
    closed = []
    for seen in log:
        if not windows.passed(seen.tp, seen.offset) and not windows.repeated(seen.embedding):
            closed += windows.add(seen, now)
    return closed


def of_all(closed: list[Window]) -> list[str]:
    return [name for window in closed if window.key.tenant is None for name in window.upload_ids]


@given(
    partitions=st.lists(st.integers(0, 2), min_size=1, max_size=60),
    tenants=st.lists(st.sampled_from("abc"), min_size=60, max_size=60),
    cut=st.integers(0, 60),
    reported=st.integers(0, 60),
)
def test_whenever_a_life_ends_every_upload_is_reported_once(partitions, tenants, cut, reported):
    offsets = {0: 0, 1: 0, 2: 0}
    log = []
    for number, partition in enumerate(partitions):
        # Markers of transactions leave gaps.
        offsets[partition] += 1 + number % 2
        log.append(sighting(number, partition, offsets[partition], tenants[number]))
    first = Windows(SIZE, 60.0, 10)
    closed = fed(first, log[:cut])
    said = closed[:reported]
    for window in said:
        first.reported(window)
    marks = first.bookmarks({})
    ends: dict[Key, dict[Partition, int]] = {}
    for window in said:
        ends[window.key] = read_ends(window.facts(), "embeddings")
    second = Windows(SIZE, 60.0, 10, ends)
    # What lies behind the bookmarks is read back in partition order, then the rest comes.
    again = [seen for seen in log if seen.offset >= (marks[seen.tp].needed if seen.tp in marks else 0)]
    back = [seen for seen in again if seen.tp in marks and seen.offset < marks[seen.tp].unseen]
    back.sort(key=lambda seen: (seen.tp, seen.offset))
    later = fed(second, back) + fed(second, again)
    later += second.due(now=61.0)
    for key in {Key("m", None), *(Key("m", tenant) for tenant in "abc")}:
        names = [name for window in (*said, *later) if window.key == key for name in window.upload_ids]
        expected = [s.embedding.upload_id for s in log if key.tenant in {None, s.embedding.tenant}]
        assert sorted(names) == sorted(expected)


def test_a_window_closes_when_it_is_full_or_old():
    windows = Windows(SIZE, 60.0, 10)
    log = [sighting(number, 0, number) for number in range(SIZE + 2)]
    closed = fed(windows, log, now=100.0)
    assert [(window.key, len(window)) for window in closed] == [(Key("m", None), SIZE), (Key("m", "t"), SIZE)]
    assert windows.due(159.0) == []
    assert {len(window) for window in windows.due(160.0)} == {2}
    assert windows.due(1000.0) == []


def test_an_embedding_written_twice_counts_once():
    windows = Windows(SIZE, 60.0, 10)
    log = [sighting(1, 0, 0), sighting(1, 0, 1), sighting(1, 0, 2, digest="another")]
    fed(windows, log)
    assert sorted(len(window) for window in windows.due(1e9)) == [1, 1, 1, 1]


def test_only_so_many_tenants_get_windows():
    windows = Windows(SIZE, 60.0, 2)
    fed(windows, [sighting(number, 0, number, tenant=f"t{number}") for number in range(4)])
    assert {window.key.tenant for window in windows.due(1e9)} == {None, "t0", "t1"}


def test_a_windows_id_is_its_records():
    def window(order: list[int]) -> Window:
        return fed(Windows(SIZE, 60.0, 0), [sighting(number, 0, place) for place, number in enumerate(order)])[0]

    assert window([1, 2, 3, 4, 5]).facts().id == window([5, 4, 3, 2, 1]).facts().id
    assert window([1, 2, 3, 4, 5]).facts().id != window([1, 2, 3, 4, 6]).facts().id
