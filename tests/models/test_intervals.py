import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.intervals import wilson


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts):
    successes, trials = counts
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trials_have_no_interval():
    assert wilson(0, 0) is None


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (5, 1000)])
def test_it_holds_the_share(hits, n):
    low, high = wilson(hits, n)
    assert 0.0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1.0


def test_a_known_interval():
    # Agresti and Coull, The American Statistician 52, 1998: 1 of 10.
    assert wilson(1, 10) == pytest.approx((0.0179, 0.4042), abs=1e-4)
