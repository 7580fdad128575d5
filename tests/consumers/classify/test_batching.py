import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.classify.batching import ArrivalRate, BatchPolicy, Hold, Release
from consumers.classify.cost import Cost
from tests.consumers.classify.simulation import play

POLICY = BatchPolicy(objective_s=0.25, max_batch=64)
GPU = (0.004, 0.0001)
CPU = (0.0, 0.008)

costs = st.builds(Cost, fixed_s=st.floats(0, 0.5), each_s=st.floats(1e-6, 0.5))
moments = st.fixed_dictionaries({
    "now": st.floats(100, 101),
    "waiting": st.integers(1, 300),
    "oldest": st.floats(90, 100),
    "gap_s": st.floats(0, 10),
    "last": st.floats(99, 100),
    "cost": costs,
})  # fmt: skip


def poisson(rate: float, seconds: float) -> list[float]:
    source = random.Random(7)
    return list(accumulate(source.expovariate(rate) for _ in range(int(rate * seconds))))


@given(moments)
def test_a_release_takes_what_there_is_and_no_more_than_is_allowed(moment):
    decision = POLICY.decide(**moment)
    if isinstance(decision, Release):
        assert 1 <= decision.size <= min(moment["waiting"], POLICY.max_batch)


@given(moments)
def test_a_hold_ends_in_time_for_the_oldest(moment):
    decision = POLICY.decide(**moment)
    if isinstance(decision, Hold):
        assert decision.until > moment["now"]
        served = decision.until + moment["cost"].seconds(moment["waiting"] + 1)
        assert served <= moment["oldest"] + POLICY.objective_s + 1e-9


@given(moments)
def test_no_batch_alone_breaks_the_objective_unless_one_picture_does(moment):
    cost = moment["cost"]
    size = POLICY.size(moment["waiting"], cost)
    assert size == 1 or cost.seconds(size) <= POLICY.objective_s + 1e-9


@given(moments)
def test_where_batching_gains_nothing_nothing_waits(moment):
    moment["cost"] = Cost(0.0, moment["cost"].each_s)
    assert POLICY.decide(**moment) == Release(1)


@given(moments)
def test_holding_is_what_the_derivation_says_it_is(moment):
    decision = POLICY.decide(**moment)
    if isinstance(decision, Hold):
        a, b, n, g = moment["cost"].fixed_s, moment["cost"].each_s, moment["waiting"], moment["gap_s"]
        held = (n + 1) * (g + a + b * (n + 1))
        released = n * (a + b * n) + 2 * a + b * (n + 1)
        assert held < released


@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=300), st.sampled_from([GPU, CPU, (0.02, 0.002)]))
def test_every_picture_is_served_once_and_in_order_of_arrival(gaps, device):
    arrivals = list(accumulate(gaps))
    played = play(POLICY, arrivals, *device)
    assert sum(played.sizes) == len(played.latencies) == len(arrivals)
    assert min(played.latencies) > 0


def test_at_fifty_a_second_nobody_waits_for_company():
    played = play(POLICY, poisson(50, 20), *GPU)
    alone = sum(GPU)
    assert sum(played.latencies) / len(played.latencies) < 1.5 * alone


def test_a_cpu_is_fed_one_by_one():
    played = play(POLICY, poisson(100, 10), *CPU)
    assert set(played.sizes) == {1}


@pytest.mark.parametrize("rate", [500, 1000, 2000, 4000])
def test_the_same_setting_keeps_up_with_any_rate_the_device_can_bear(rate):
    arrivals = poisson(rate, 5)
    played = play(POLICY, arrivals, *GPU)
    assert played.ended - arrivals[-1] < 0.1
    assert sorted(played.latencies)[int(0.99 * len(arrivals))] < 0.05


def test_a_backlog_is_worked_off_near_the_best_possible_rate():
    played = play(POLICY, [0.0] * 5000, *GPU)
    best = 5000 / 64 * (GPU[0] + 64 * GPU[1])
    assert played.ended < 1.1 * best


def test_near_the_maximum_rate_a_batch_is_held_for_a_few_more():
    decision = POLICY.decide(now=10.0, waiting=2, oldest=10.0, gap_s=0.0005, last=10.0, cost=Cost(*GPU))
    assert isinstance(decision, Hold)
    assert decision.until == pytest.approx(10.0 + (0.004 - 0.0002) / 3)


def test_a_lull_counts_at_once():
    rate = ArrivalRate()
    assert rate.gap_s(5.0) == float("inf")
    for moment in range(10):
        rate.arrived(float(moment))
    assert rate.gap_s(9.0) == pytest.approx(1.0)
    assert rate.gap_s(109.0) == pytest.approx(100.0)
