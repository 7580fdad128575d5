import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.charts import bar, history, stacked

values = st.lists(st.floats(0, 1e6), max_size=60)


@given(values, st.integers(0, 50), st.integers(1, 4))
def test_a_history_has_the_size_it_was_asked_for(series, width, rows):
    lines = history(series, width=width, rows=rows)
    assert [len(line) for line in lines] == [width] * rows


def test_the_largest_fills_the_height_and_the_newest_is_at_the_right():
    top, bottom = (line.plain for line in history([0, 4, 8], width=4, rows=2))
    assert top == "   █"
    assert bottom == "  ██"


def test_little_is_not_nothing():
    assert history([0.001, 1000], width=2)[0].plain == "▁█"


def test_a_given_ceiling_makes_histories_comparable():
    assert history([4], width=1, top=8)[0].plain == "▄"


@given(st.floats(-1, 2), st.integers(0, 40))
def test_a_bar_is_as_wide_as_its_track(share, width):
    assert len(bar(share, width=width)) == width


@pytest.mark.parametrize(("share", "cells"), [(0.0, 0), (0.25, 2.5), (0.5, 5), (1.0, 10), (7.0, 10)])
def test_a_bar_counts_in_halves(share, cells):
    drawn = bar(share, width=10, style="red")
    styled = sum(span.end - span.start for span in drawn.spans if "red" in str(span.style))
    own = 10 - sum(span.end - span.start for span in drawn.spans if "grey" in str(span.style))
    assert max(styled, own) == -(-cells // 1)
    assert ("╸" in drawn.plain) == (cells % 1 > 0)


@given(st.lists(st.integers(0, 1000), max_size=4), st.integers(0, 40))
def test_a_stacked_bar_is_as_wide_as_its_track(counts, width):
    assert len(stacked([(count, "red") for count in counts], width=width)) == width
