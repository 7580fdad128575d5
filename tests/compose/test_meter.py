import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.meter import Meter
from tests.compose.events import truth, verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["sent", "judged", "died"])), max_size=40))
def test_an_upload_is_outstanding_until_it_is_settled_in_whatever_order(steps):
    meter = Meter()
    sent, settled = set(), set()
    for number, step in steps:
        if step == "sent" and number not in sent:
            sent.add(number)
            meter.sent(truth(str(number), at=AT))
        elif step == "judged" and number not in settled:
            settled.add(number)
            meter.judged(verdict(str(number), at=AT), AT)
        elif step == "died" and number not in settled:
            settled.add(number)
            meter.died(str(number))
    assert meter.outstanding == len(sent - settled)
    assert meter.uploads == len(sent)


def test_a_second_verdict_is_counted_as_such():
    meter = Meter()
    meter.sent(truth("a", at=AT))
    for _ in range(2):
        meter.judged(verdict("a", at=AT), AT + timedelta(milliseconds=30))
    score = meter.score()
    assert (score["uploads"], score["lost"], score["duplicated"]) == (1, 0, 1)


def test_a_dead_letter_is_neither_lost_nor_a_verdict():
    meter = Meter()
    meter.sent(truth("a", at=AT))
    meter.sent(truth("b", at=AT))
    meter.died("a")
    score = meter.score()
    assert (score["lost"], score["dlq"], score["verdicts"]) == (1, 1, 0)


def test_throughput_runs_from_the_first_upload_to_the_last_verdict():
    meter = Meter()
    for number in range(4):
        meter.sent(truth(str(number), at=AT + timedelta(seconds=number)))
        meter.judged(verdict(str(number), at=AT), AT + timedelta(seconds=number + 1))
    assert meter.score()["images_per_s"] == 1.0


def test_latency_ends_in_the_readers_hands():
    meter = Meter()
    meter.sent(truth("a", at=AT))
    meter.judged(verdict("a", at=AT, decided=AT + timedelta(milliseconds=10)), AT + timedelta(milliseconds=50))
    assert meter.score()["latency_ms"]["p50"] == pytest.approx(50, rel=0.01)
    assert meter.recent_latency().p50 == pytest.approx(50)


def test_percentiles_of_nothing():
    assert Meter().recent_latency() is None


def test_histories_have_every_second_that_is_over():
    time = Time()
    meter = Meter(time)
    meter.sent(truth("a", at=AT))
    time.now += 2
    meter.judged(verdict("a", at=AT), AT + timedelta(milliseconds=40))
    time.now += 1
    histories = meter.histories()
    assert histories.uploads == (1.0, 0.0, 0.0)
    assert histories.verdicts == (0.0, 0.0, 1.0)
    assert histories.median_ms == (0.0, 0.0, pytest.approx(40))
    assert meter.elapsed_s == 3


def test_histories_after_a_long_silence_stay_bounded():
    time = Time()
    meter = Meter(time)
    time.now += 100_000
    assert len(meter.histories().uploads) < 300


def test_lines_are_told_with_the_truth_newest_first():
    meter = Meter()
    meter.judged(verdict("early", at=AT), AT)
    meter.sent(truth("late", at=AT))
    meter.judged(verdict("late", at=AT), AT)
    meter.sent(truth("early", at=AT, label="authentic", family="camera", phase="night"))
    assert [(line.upload_id, line.truth, line.family) for line in meter.last_verdicts()] == [
        ("early", "authentic", "camera"),
        ("late", "ai_generated", "nearest"),
    ]
    assert meter.phase == "night"
    assert meter.model.name == "tiny"


class TestWaiting:
    def test_it_ends_when_the_last_is_settled(self):
        meter = Meter()
        meter.sent(truth("a", at=AT))
        threading.Timer(0.05, lambda: meter.judged(verdict("a", at=AT), AT)).start()
        assert meter.wait_outstanding(0, 10)

    def test_it_gives_up(self):
        meter = Meter()
        meter.sent(truth("a", at=AT))
        assert not meter.wait_outstanding(0, 0.01)

    def test_it_is_stopped(self):
        meter = Meter()
        meter.sent(truth("a", at=AT))
        assert not meter.wait_outstanding(0, 60, lambda: True)
