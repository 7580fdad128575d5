import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.classify.cost import CostModel

seconds = st.floats(min_value=1e-5, max_value=0.5)


@given(fixed=seconds, each=seconds, sizes=st.lists(st.integers(1, 64), min_size=20, max_size=60))
def test_a_steady_device_is_learned(fixed, each, sizes):
    model = CostModel([(1, fixed + each), (8, fixed + 8 * each)])
    for n in sizes:
        model.observe(n, fixed + each * n)
    assert model.cost.fixed_s == pytest.approx(fixed, rel=1e-3, abs=1e-6)
    assert model.cost.each_s == pytest.approx(each, rel=1e-3, abs=1e-6)


@given(st.lists(st.tuples(st.integers(1, 256), st.floats(0, 1e3)), max_size=50))
def test_no_history_makes_the_cost_useless(history):
    model = CostModel()
    for n, took in history:
        model.observe(n, took)
    assert model.cost.fixed_s >= 0
    assert model.cost.each_s > 0


def test_batches_of_one_do_not_make_it_forget_what_larger_ones_cost():
    model = CostModel([(1, 0.0041), (4, 0.0044)])
    for _ in range(1000):
        model.observe(1, 0.0041)
    assert model.cost.seconds(4) == pytest.approx(0.0044, rel=0.05)


def test_one_outlier_hardly_moves_it_and_a_slower_device_does():
    model = CostModel([(1, 0.005), (8, 0.012)])
    for n in (1, 8, 4, 2) * 20:
        model.observe(n, 0.004 + 0.001 * n)
    model.observe(4, 10.0)
    assert model.cost.seconds(4) < 2 * 0.008
    for n in (1, 8, 4, 2) * 40:
        model.observe(n, 5 * (0.004 + 0.001 * n))
    assert model.cost.seconds(4) == pytest.approx(0.04, rel=0.2)


def test_an_unprobed_device_is_tried_in_several_sizes():
    cost = CostModel().cost
    assert cost.fixed_s == pytest.approx(cost.each_s)
