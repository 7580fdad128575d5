import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.novelty import Novelty, winnings
from drift.reference import Reference
from stream.errors import MalformedEvent
from tests.drift.worlds import reference, usual


@pytest.fixture(scope="module")
def frozen() -> Reference:
    return reference(n=3000)


def ids(n: int, kind: str = "usual") -> list[str]:
    return [f"{kind}-{number}" for number in range(n)]


def test_unchanged_traffic_does_not_reach_the_limit(frozen):
    detector = Novelty(frozen)
    vectors, scores = usual(20_000, seed=11)
    assert not detector.see_many(vectors, scores, ids(20_000)).fired


def test_a_share_of_the_unknown_is_told_soon_and_named(frozen):
    detector = Novelty(frozen)
    vectors, scores = usual(600, seed=12)
    names = ids(600)
    for place in range(100, 600, 8):
        vectors[place, -1] += 6.0
        names[place] = f"new-{place}"
    assert not detector.see_many(vectors[:100], scores[:100], names[:100]).fired
    alert = detector.see_many(vectors[100:], scores[100:], names[100:])
    assert alert.fired
    assert all(name.startswith("new-") for name in alert.suspects)


def test_after_firing_it_begins_anew(frozen):
    detector = Novelty(frozen, limit=10.0)
    vectors, scores = usual(20, seed=13)
    assert detector.see_many(vectors + 9.0, scores, ids(20)).fired
    assert detector.see_many(vectors[:1], scores[:1], ids(1)).e_value < 10.0


@given(cuts=st.lists(st.integers(0, 120), max_size=5))
def test_batches_change_nothing(frozen, cuts):
    vectors, scores = usual(120, seed=14)
    vectors[40:50] += 1.0
    names = ids(120)
    whole, parts = Novelty(frozen), Novelty(frozen)
    expected = whole.see_many(vectors, scores, names)
    edges = [0, *sorted(cuts), 120]
    alerts = [
        parts.see_many(vectors[begin:end], scores[begin:end], names[begin:end])
        for begin, end in itertools.pairwise(edges)
    ]
    assert max(alert.e_value for alert in alerts) == pytest.approx(expected.e_value, rel=1e-3)
    assert alerts[-1].suspects == expected.suspects


def test_one_by_one_is_the_same(frozen):
    vectors, scores = usual(5, seed=15)
    single, many = Novelty(frozen), Novelty(frozen)
    for at in range(5):
        last = single.see(vectors[at], float(scores[at]), f"usual-{at}")
    assert last.suspects == many.see_many(vectors, scores, ids(5)).suspects


def test_an_embedding_that_is_not_finite_is_refused_and_leaves_no_trace(frozen):
    detector = Novelty(frozen)
    vectors, scores = usual(5, seed=16)
    before = detector.see_many(vectors, scores, ids(5))
    vectors[2, 2] = np.nan
    with pytest.raises(MalformedEvent, match="not finite"):
        detector.see_many(vectors, scores, ids(5))
    assert detector.see_many(vectors[:0], scores[:0], []).e_value <= before.e_value


def test_the_bet_is_fair():
    grid = (np.arange(100_000) + 1) / 100_000
    assert winnings(grid).mean() <= 1.0
    assert winnings(grid).mean() == pytest.approx(1.0, abs=0.05)
