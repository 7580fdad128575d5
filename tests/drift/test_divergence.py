import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from drift.divergence import Splits, both, kl
from stream.errors import MalformedEvent

COLUMNS = 6


def samples(n: int, m: int, *, seed: int = 0, dtype: type = np.float32):
    rng = np.random.default_rng(seed)
    reference, current = rng.normal(size=(n, COLUMNS)), rng.normal(0.2, 1.3, size=(m, COLUMNS))
    reference[:, 1], current[:, 1] = 2.0, 2.0
    reference[:, 2], current[:, 2] = 2.0, 3.0
    reference[:, 3], current[:, 3] = reference[:, 3].round(0), current[:, 3].round(1)
    reference[:, 4] = reference[:, 4].clip(-0.5, 0.5)
    return reference.astype(dtype), current.astype(dtype)


class TestEvidently:
    """Ours is theirs: the figure that calibrates is the figure that alarms."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize(
        ("n", "m"), [(2000, 500), (2048, 2048), (64, 64), (100, 25), (30, 1), (1, 30), (25_000, 200)]
    )
    def test_both_directions_are_evidently_s(self, n, m, dtype):
        pandas = pytest.importorskip("pandas", reason="compares with the drift extra")
        theirs = pytest.importorskip("evidently.legacy.calculations.stattests", reason="compares with the drift extra")
        number = pytest.importorskip("evidently.legacy.core").ColumnType.Numerical

        def evidently(one, other):
            columns = ((pandas.Series(one[:, at]), pandas.Series(other[:, at])) for at in range(COLUMNS))
            return [theirs.get_stattest(a, b, number, "kl_div")(a, b, number, 0.1).drift_score for a, b in columns]

        reference, current = samples(n, m, dtype=dtype)
        found = both(reference, current)
        np.testing.assert_allclose(found[0], evidently(reference, current), atol=1e-9, rtol=0)
        np.testing.assert_allclose(found[1], evidently(current, reference), atol=1e-9, rtol=0)


@given(
    n=st.integers(1, 120),
    m=st.integers(1, 60),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_a_split_of_known_rows_gives_what_the_rows_themselves_give(n, m, seed, dtype):
    columns = np.concatenate(samples(140, 70, seed=seed, dtype=dtype))
    split = np.random.default_rng(seed).permutation(len(columns))[: n + m]
    np.testing.assert_array_equal(
        Splits(columns, n + m).both(split[:n], split[n:]), both(columns[split[:n]], columns[split[n:]])
    )


class TestGuards:
    def test_an_empty_sample_says_nothing(self):
        reference, current = samples(50, 20)
        assert not both(reference, current[:0]).any()
        assert not both(reference[:0], current).any()

    def test_rows_with_a_number_that_is_not_finite_do_not_count(self):
        reference, current = samples(300, 100)
        spoilt = np.concatenate([current, np.full((2, COLUMNS), np.nan, np.float32)])
        spoilt[-1] = np.inf
        np.testing.assert_array_equal(both(reference, spoilt), both(reference, current))

    def test_other_columns_are_refused(self):
        reference, current = samples(50, 20)
        with pytest.raises(MalformedEvent, match="cannot be compared"):
            kl(reference, current[:, :-1])

    @given(
        arrays.arrays(np.float32, st.tuples(st.integers(0, 40), st.just(3)), elements=st.floats(width=32)),
        arrays.arrays(np.float32, st.tuples(st.integers(0, 40), st.just(3)), elements=st.floats(width=32)),
    )
    def test_whatever_comes_the_figures_are_finite_and_not_negative(self, reference, current):
        found = both(reference, current)
        assert np.isfinite(found).all()
        assert (found >= -1e-9).all()


def test_each_direction_sees_what_the_other_misses():
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(2000, 1))
    something_new = np.concatenate([rng.normal(size=(450, 1)), rng.normal(8.0, 0.2, size=(50, 1))])
    forward, backward = both(reference, something_new)[:, 0]
    assert backward > 3 * forward
