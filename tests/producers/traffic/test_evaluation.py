from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.traffic.evaluation import Evaluation
from tests.producers.traffic.events import START, truth, verdict


@st.composite
def streams(draw):
    """Truths and verdicts in any order, some repeated, some missing; with what the report must count."""
    events, expected = [], {"uploads": 0, "verdicts": 0, "lost": 0, "duplicated": 0, "verdicts_without_truth": 0}
    for number in range(draw(st.integers(0, 25))):
        upload_id = f"u{number}"
        label = draw(st.sampled_from(["authentic", "ai_generated"]))
        said = draw(st.sampled_from(["authentic", "ai_generated", "uncertain"]))
        truths, verdicts = draw(st.integers(0, 2)), draw(st.integers(0, 3))
        events += [truth(upload_id, label, family=draw(st.sampled_from("ab")))] * truths
        events += [verdict(upload_id, said, latency_ms=float(number))] * verdicts
        expected["uploads"] += truths > 0
        expected["verdicts"] += verdicts
        expected["lost"] += truths > 0 and verdicts == 0
        expected["verdicts_without_truth"] += truths == 0 and verdicts > 0
        expected["duplicated"] += max(0, verdicts - 1)
    return draw(st.permutations(events)), expected


def grade(events, **options):
    evaluation = Evaluation(**options)
    for event in events:
        evaluation.truth(event) if hasattr(event, "label") else evaluation.verdict(event)
    return evaluation.report()


@given(streams(), st.randoms())
def test_counts_are_right_in_any_order(stream, random):
    events, expected = stream
    report = grade(events)
    assert {name: report[name] for name in expected} == expected
    assert report["joined"] == report["uploads"] - report["lost"]
    shuffled = list(events)
    random.shuffle(shuffled)
    assert grade(shuffled) == report
    for by in ("by_family", "by_persona", "by_tier", "by_phase"):
        assert sum(tally["uploads"] for tally in report[by].values()) == report["joined"]


def test_slices_tell_where_it_goes_wrong():
    report = grade([
        truth("1", "authentic", family="camera", persona="prolific", tier="hard", phase="late"),
        verdict("1", "ai_generated", 0.99),
        truth("2", "ai_generated", family="gan"),
        verdict("2", "ai_generated", 0.99),
    ])  # fmt: skip
    assert report["accuracy"] == 0.5
    assert report["by_family"]["camera"]["fpr"] == 1.0
    assert report["by_family"]["gan"]["detection_rate"] == 1.0
    assert set(report["by_persona"]) == {"prolific", "casual"}
    assert report["by_tier"]["hard"]["accuracy"] == 0.0
    assert report["by_phase"]["late"]["uploads"] == 1


def test_the_first_verdict_counts():
    report = grade([verdict("1", "authentic"), truth("1"), verdict("1", "ai_generated", 0.9)])
    assert (report["accuracy"], report["duplicated"]) == (1.0, 1)


def test_latency_ends_at_the_decision_or_where_a_reader_saw_it():
    evaluation = Evaluation()
    evaluation.truth(truth("1"))
    evaluation.verdict(verdict("1", latency_ms=80.0))
    assert evaluation.snapshot()["latency_ms"]["p50"] == pytest.approx(80.0, rel=0.006)
    evaluation.truth(truth("2"))
    evaluation.verdict(verdict("2", latency_ms=80.0), seen_at=START + timedelta(milliseconds=200))
    assert evaluation.report()["latency_ms"]["max"] == pytest.approx(200.0)


def test_memory_is_bounded_and_what_was_pushed_out_is_told():
    report = grade([truth(str(number)) for number in range(10)], window=4)
    assert (report["lost"], report["beyond_window"]["truths"]) == (10, 6)
    report = grade([verdict(str(number)) for number in range(10)], window=4)
    assert (report["verdicts_without_truth"], report["beyond_window"]["verdicts"]) == (10, 6)
    joined = [event for number in range(10) for event in (truth(str(number)), verdict(str(number)))]
    assert grade([*joined, verdict("9")], window=4)["duplicated"] == 1


def test_a_snapshot_says_waiting_where_a_report_says_lost():
    evaluation = Evaluation()
    evaluation.truth(truth("1"))
    assert evaluation.snapshot()["waiting"] == evaluation.waiting == 1
    assert evaluation.report()["lost"] == 1
