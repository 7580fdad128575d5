"""Threads over many pictures keep the order and only a few items in hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ordered import in_order


@given(st.lists(st.integers(), max_size=40), st.integers(1, 4))
def test_results_come_in_order(items: list[int], threads: int) -> None:
    assert list(in_order(lambda item: item * 2, items, threads=threads)) == [item * 2 for item in items]


@pytest.mark.parametrize("threads", [1, 3])
def test_items_are_read_only_a_little_ahead(threads: int) -> None:
    read = []

    def items() -> object:
        for number in range(1000):
            read.append(number)
            yield number

    results = in_order(str, items(), threads=threads)
    assert next(results) == "0"
    assert len(read) <= 4 * threads
    results.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_failure_comes_at_its_turn(threads: int) -> None:
    results = in_order(lambda item: 6 // item, [3, 2, 0, 1], threads=threads)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
