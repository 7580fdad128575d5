import pytest

from compose.report import Limits, breaches, summary


def report(**changes):
    whole = {
        "uploads": 100, "verdicts": 100, "lost": 0, "duplicated": 0, "dlq": 0, "images_per_s": 120.0, "seconds": 0.8,
        "latency_ms": {"p50": 20.0, "p95": 40.0, "p99": 80.0, "max": 90.0},
        "memory_mib": {"start": 200.0, "peak": 250.0, "end": 240.0},
        "accuracy": 0.9, "accuracy_ci95": [0.8, 0.95], "coverage": 1.0, "coverage_ci95": [0.96, 1.0],
        "fpr": None, "fpr_ci95": None, "provider": "CPUExecutionProvider",
        "bundle": {"name": "tiny", "digest": "ab" * 32}, "broker": {"kind": "embedded", "address": "127.0.0.1:1"},
        "delivery": "exactly_once",
    }  # fmt: skip
    return whole | changes


def test_nothing_asked_and_nothing_lost_is_no_breach():
    assert breaches(report(), Limits()) == []


@pytest.mark.parametrize(
    ("changes", "limits", "said"),
    [
        ({"lost": 2}, Limits(), "2 of 100 uploads got neither"),
        ({"duplicated": 3}, Limits(), "verdicts that came again: 3, over the limit of 0"),
        ({"dlq": 1}, Limits(max_dlq=0), "dead letters: 1"),
        ({}, Limits(max_p50_ms=10), "p50 latency: 20 ms, over the limit of 10 ms"),
        ({}, Limits(max_p99_ms=79), "p99 latency: 80 ms"),
        ({}, Limits(min_images_per_s=121), "120 images/s, under the limit of 121"),
        ({}, Limits(max_memory_mib=249), "peak memory: 250 MiB"),
        ({"memory_mib": {"peak": None}}, Limits(max_memory_mib=600), "peak memory could not be measured"),
        ({"latency_ms": {"p50": None, "p99": None}}, Limits(max_p99_ms=1), "p99 latency could not be measured"),
    ],
)
def test_every_breach_is_told_in_words(changes, limits, said):
    (found,) = breaches(report(**changes), limits)
    assert said in found


def test_a_limit_that_is_just_held():
    limits = Limits(max_p50_ms=20, max_p99_ms=80, min_images_per_s=120, max_memory_mib=250, max_dlq=0)
    assert breaches(report(), limits) == []


def test_duplicates_that_nobody_promised_are_not_judged():
    assert breaches(report(duplicated=3), Limits(max_duplicated=None)) == []


def test_the_summary_has_a_row_for_each_breach_and_note():
    table = summary(report(notes=["one"]), title="Stress", broken=["two", "three"])
    assert [str(cell) for cell in table.columns[1].cells][-3:] == ["two", "three", "one"]
