import itertools
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from producers.traffic.arrivals import Bursts, arrivals, poisson, stretches

BURSTS = Bursts(factor=6.0, mean_s=2.0, every_s=10.0)
ALPHA = 0.001


def until(times, end):
    return list(itertools.takewhile(lambda time: time < end, times))


@given(
    rate=st.floats(0.1, 1000.0),
    factor=st.floats(1.0, 20.0),
    mean_s=st.floats(0.1, 5.0),
    gap_s=st.floats(0.1, 30.0),
    seed=st.text(max_size=5),
)
def test_times_rise_strictly_and_follow_from_the_seed(rate, factor, mean_s, gap_s, seed):
    bursts = Bursts(factor, mean_s, mean_s + gap_s)
    times = list(itertools.islice(poisson(rate, bursts, seed), 200))
    assert times[0] > 0
    assert all(before < after for before, after in itertools.pairwise(times))
    assert times == list(itertools.islice(poisson(rate, bursts, seed), 200))


@given(factor=st.floats(1.0, 20.0), mean_s=st.floats(0.1, 5.0), gap_s=st.floats(0.1, 30.0), rate=st.floats(0.1, 1000.0))
def test_the_rates_of_quiet_and_burst_average_to_the_mean(factor, mean_s, gap_s, rate):
    bursts = Bursts(factor, mean_s, mean_s + gap_s)
    quiet = bursts.quiet_rate(rate)
    assert (1 - bursts.share) * quiet + bursts.share * quiet * factor == pytest.approx(rate)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_without_bursts_counts_are_poisson(seed):
    rate, end = 50.0, 200.0
    count = len(until(poisson(rate, Bursts(), seed), end))
    # Exact two-sided test of a Poisson count.
    below, above = stats.poisson.cdf(count, rate * end), stats.poisson.sf(count - 1, rate * end)
    assert 2 * min(below, above) > ALPHA
    gaps = [after - before for before, after in itertools.pairwise(until(poisson(rate, Bursts(), seed), end))]
    assert stats.kstest(gaps, "expon", args=(0, 1 / rate)).pvalue > ALPHA


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_bursts_arrivals_are_poisson_on_the_clock_of_their_rate(seed):
    # Time-rescaling: measured by the integral of the rate, the gaps of any Poisson process are exponential with mean 1.
    path = list(itertools.takewhile(lambda stretch: stretch.start_s < 300, stretches(40.0, BURSTS, Random(seed))))
    heights = [0.0, *itertools.accumulate((stretch.end_s - stretch.start_s) * stretch.rate for stretch in path)]
    rescaled, number = [], 0
    for time in arrivals(iter(path), Random(seed + 100)):
        while time >= path[number].end_s:
            number += 1
        rescaled.append(heights[number] + (time - path[number].start_s) * path[number].rate)
    gaps = [after - before for before, after in itertools.pairwise([0.0, *rescaled])]
    assert len(gaps) > 5000
    assert stats.kstest(gaps, "expon").pvalue > ALPHA


def test_states_alternate_last_exponentially_and_cover_all_time():
    path = list(itertools.islice(stretches(40.0, BURSTS, Random(5)), 4000))
    assert path[0].start_s == 0.0
    assert all(before.end_s == after.start_s for before, after in itertools.pairwise(path))
    quiet = BURSTS.quiet_rate(40.0)
    assert {stretch.rate for stretch in path} == {quiet, quiet * BURSTS.factor}
    assert all(before.rate != after.rate for before, after in itertools.pairwise(path))
    lengths = [stretch.end_s - stretch.start_s for stretch in path if stretch.rate > quiet]
    assert stats.kstest(lengths, "expon", args=(0, BURSTS.mean_s)).pvalue > ALPHA


def test_bursts_of_a_seed_stay_where_they_are_when_the_rate_changes():
    slow, fast = (list(itertools.islice(stretches(rate, BURSTS, Random(1)), 50)) for rate in (10.0, 100.0))
    assert [stretch[:2] for stretch in slow] == [stretch[:2] for stretch in fast]


def test_no_bursts_is_one_endless_stretch():
    assert list(stretches(7.0, Bursts(), Random(1))) == [(0.0, math.inf, 7.0)]
