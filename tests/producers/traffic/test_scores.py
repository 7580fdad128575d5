import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.traffic.latencies import Latencies
from producers.traffic.scores import Tally


def tally(*uploads):
    counts = Tally()
    for truth, verdict, p_ai in uploads:
        counts.add(truth, verdict, p_ai)
    return counts.report()


def test_rates_are_what_the_definitions_say():
    report = tally(
        ("ai_generated", "ai_generated", 0.9),
        ("ai_generated", "authentic", 0.2),
        ("ai_generated", "uncertain", 0.6),
        ("authentic", "authentic", 0.1),
        ("authentic", "ai_generated", 0.95),
        ("authentic", "uncertain", 0.5),
        ("authentic", "authentic", 0.05),
    )
    assert (report["uploads"], report["uncertain"]) == (7, 2)
    assert report["accuracy"] == pytest.approx(3 / 5)
    assert report["coverage"] == pytest.approx(5 / 7, abs=1e-5)
    # Forced right: .9, .6 of the fakes, .1 and .05 of the photographs; .5 counts as machine-made.
    assert report["accuracy_forced"] == pytest.approx(4 / 7, abs=1e-5)
    assert report["fpr"] == pytest.approx(1 / 4)
    assert report["detection_rate"] == pytest.approx(1 / 3, abs=1e-5)
    low, high = report["fpr_ci95"]
    assert low < 1 / 4 < high


def test_rates_of_nothing_are_none():
    report = tally(("authentic", "uncertain", 0.4))
    assert report["accuracy"] is None
    assert report["accuracy_ci95"] is None
    assert report["detection_rate"] is None
    assert report["fpr"] == 0.0


@given(st.lists(st.floats(0.02, 1e7), min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_percentiles_are_within_half_a_percent_of_the_nearest_rank(durations, share):
    latencies = Latencies()
    for duration in durations:
        latencies.add(duration)
    ranked = sorted(durations)
    exact = next(value for number, value in enumerate(ranked, 1) if number >= share * len(ranked))
    assert latencies.percentile(share) == pytest.approx(exact, rel=0.0051)
    assert latencies.report()["max"] == pytest.approx(max(durations), abs=0.005)
    assert len(latencies) == len(durations)


def test_clocks_that_disagree_do_not_break_the_histogram():
    latencies = Latencies()
    latencies.add(-5.0)
    assert latencies.percentile(0.5) <= 0.01
    assert Latencies().percentile(0.5) is None
    assert Latencies().report() == {"p50": None, "p95": None, "p99": None, "max": None}
