from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.facts import Facts
from drift.intervals import Rise, clopper_pearson
from drift.labels import EVERY, Labels
from drift.metrics import DriftMetrics
from drift.refill import past
from stream import messages
from stream.doubles import ManualClock
from stream.events import ImageFacts, Label, ModelRef, ThresholdIds, Timings, Verdict
from stream.kafka import KafkaProducer
from stream.records import Record
from stream.settings import KafkaSettings, Settings

AT = datetime(2026, 1, 1, tzinfo=UTC)


def verdict(upload_id: str, p_ai: float, tenant: str = "t") -> Verdict:
    return Verdict(
        upload_id=upload_id,
        tenant=tenant,
        verdict="ai_generated" if p_ai > 0.8 else "authentic" if p_ai < 0.2 else "uncertain",
        p_ai=p_ai,
        thresholds=ThresholdIds(authentic_below="a", ai_above="b"),
        model=ModelRef(name="m", version="1", digest="d" * 64, provider="cpu", precision="fp32"),
        image=ImageFacts(sha256="0" * 64, media_type="image/png", width=1, height=1),
        timings_ms=Timings(queue=0, fetch=0, decode=0, infer=0, total=0),
        occurred_at=AT,
        decided_at=AT,
    )


class Site:
    def __init__(self, most: int = 10_000, alarm_at: Mapping[str, float] | None = None):
        self.clock = ManualClock()
        self.facts = Facts(most)
        self.metrics = DriftMetrics()
        self.rejected: list[str] = []
        self.labels = Labels(
            self.facts, self.metrics, self.clock, lambda _, error: self.rejected.append(error.what), cooldown_s=100.0,
            alarm_at=alarm_at or {},
        )  # fmt: skip
        self.offset = 0

    def said(self, upload_id: str, p_ai: float, tenant: str = "t"):
        given = verdict(upload_id, p_ai, tenant)
        self.facts.remember(given)
        return self.labels.said(given)

    def read(self, upload_id: str, label: str, origin: str = "moderator", at: datetime = AT) -> Record:
        event = Label(upload_id=upload_id, label=label, origin=origin, reviewer="r", at=at)
        out = messages.encode(event, topic="feedback", key=upload_id, source="s", time=at)
        self.offset += 1
        return Record("feedback", 0, self.offset, 1, out.key, out.value, out.headers)

    def labelled(self, upload_id: str, label: str, origin: str = "moderator", at: datetime = AT):
        return self.labels.take(self.read(upload_id, label, origin, at))

    def many(self, count: int, *, wrong: float, seed: int, prefix: str = "u"):
        rng = np.random.default_rng(seed)
        reports = []
        for number in range(count):
            name, fake = f"{prefix}{number}", bool(rng.random() < 0.5)
            right = rng.random() >= wrong
            self.said(name, 0.95 if fake == right else 0.05, tenant=f"t{number % 2}")
            reports += self.labelled(name, "ai_generated" if fake else "authentic")
        return reports

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"veristream_drift_{name}_total", labels) or 0.0


def test_figures_come_with_every_fifty_labels():
    site = Site()
    reports = site.many(120, wrong=0.1, seed=1)
    assert [report.window.size for report in reports] == [EVERY, 2 * EVERY]
    assert {report.status for report in reports} == {"ok"}
    figures = {part.name: part for part in reports[-1].components}
    latest = figures["accuracy"]
    assert 0.8 < latest.value < 1.0
    assert "100 labels" in latest.statistic
    assert {"false positives", "Brier score", "calibration error", "accuracy, tenant t0"} <= set(figures)


def test_a_fall_is_proven_and_told_once():
    site = Site()
    calm = site.many(400, wrong=0.08, seed=2)
    assert {report.status for report in calm} == {"ok"}
    fallen = site.many(300, wrong=0.5, seed=3, prefix="v")
    alarms = [report for report in fallen if report.status == "alarm"]
    assert len(alarms) == 1
    assert alarms[0].kind == "labels"
    assert "accuracy proven to be under" in alarms[0].reason
    assert any(part.name == "accuracy" and part.alarmed for part in alarms[0].components)


def test_the_same_labels_say_nothing_twice():
    site = Site()
    site.many(49, wrong=0.0, seed=4)
    for _ in range(3):
        assert [report for number in range(49) for report in site.labelled(f"u{number}", "authentic")] == []
    assert site.counted("records_repeated", topic="feedback") > 0


def test_the_higher_origin_wins_then_the_later():
    site = Site()
    site.many(EVERY - 1, wrong=0.0, seed=5)
    site.said("x", 0.95)
    later = AT + timedelta(hours=1)
    reports = site.labelled("x", "ai_generated", "moderator", later)
    assert reports[0].components[0].value == 1.0
    site.labelled("x", "authentic", "user_report", later + timedelta(hours=1))
    site.labelled("x", "authentic", "moderator", AT)
    assert site.many(EVERY, wrong=0.0, seed=6, prefix="w")[-1].components[0].value == 1.0
    site.labelled("x", "authentic", "golden", AT)
    assert site.counted("label_contradictions") == 3.0
    assert site.many(EVERY, wrong=0.0, seed=7, prefix="y")[-1].components[0].value < 1.0


def test_a_label_waits_for_its_verdict_and_then_dies():
    site = Site()
    site.labelled("early", "authentic")
    site.labelled("never", "authentic")
    site.said("early", 0.1)
    site.clock.advance(59)
    site.labels.tidy()
    assert site.rejected == []
    site.clock.advance(2)
    site.labels.tidy()
    assert site.rejected == ["a label for upload never, of which no verdict is remembered"]


def test_what_is_forgotten_is_unknown():
    site = Site(most=1)
    site.said("a", 0.5)
    site.said("b", 0.5)
    site.labelled("a", "authentic")
    site.clock.advance(61)
    site.labels.tidy()
    assert len(site.rejected) == 1


@given(st.binary(max_size=30) | st.none())
def test_what_is_no_label_is_rejected(value):
    site = Site()
    assert site.labels.take(Record("feedback", 0, 1, 1, b"k", value, ())) == []
    assert len(site.rejected) == 1


def test_a_second_life_knows_what_the_first_had_proven():
    first, second = Site(), Site()
    rng = np.random.default_rng(8)
    told = []
    for number in range(500):
        fake, right = bool(rng.random() < 0.5), rng.random() >= (0.08 if number < 300 else 0.6)
        for site in (first, second):
            site.said(f"u{number}", 0.95 if fake == right else 0.05)
        record = first.read(f"u{number}", "ai_generated" if fake else "authentic")
        told += first.labels.take(record)
        second.labels.recall(record)
    assert "alarm" in {report.status for report in told}
    assert first.said("z", 0.5) == second.said("z", 0.5) == []
    assert first.labelled("z", "authentic") == second.labelled("z", "authentic")


def test_a_second_life_lets_the_first_ones_alarm_cool_down(broker):
    settings = Settings(kafka=KafkaSettings(bootstrap=broker.bootstrap, embedded=True))
    broker.create_topic("drift", 1)
    first = Site()
    told = [*first.many(320, wrong=0.08, seed=2), *first.many(70, wrong=0.6, seed=3, prefix="v")]
    assert [report.status for report in told].count("alarm") == 1
    with closing(KafkaProducer(settings.kafka, client_id="test")) as producer:
        for report in told:
            producer.send(messages.encode(report, topic="drift", key=report.report_id, source="t", time=report.at))
        producer.flush(10)

    alarm_at = past(settings).labels_alarm_at
    for waited, status in ((99.0, "warning"), (101.0, "alarm")):
        second = Site(alarm_at=alarm_at)
        second.clock.advance(waited)
        second.many(320, wrong=0.08, seed=2)
        fallen = second.many(70, wrong=0.6, seed=3, prefix="v")
        assert next(report.status for report in fallen if "proven" in report.reason) == status


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (5, 1000)])
def test_the_interval_holds_the_share(hits, n):
    low, high = clopper_pearson(hits, n)
    assert 0.0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1.0
    assert clopper_pearson(hits, n, 0.99)[1] >= clopper_pearson(hits, n)[1]


def test_known_intervals():
    # Agresti and Coull, The American Statistician 52, 1998: 0 of 10, and Clopper-Pearson's 1 of 10.
    assert clopper_pearson(0, 10)[1] == pytest.approx(0.3085, abs=1e-4)
    assert clopper_pearson(1, 10) == pytest.approx((0.0025, 0.4450), abs=1e-4)


def test_a_rise_is_hardly_ever_proven_where_there_is_none():
    rng = np.random.default_rng(9)
    proven = 0
    for _ in range(200):
        test = Rise(0.1, 0.05)
        for failed in rng.random(800) < 0.1:
            test.see(bool(failed))
            if test.proven:
                proven += 1
                break
    assert proven <= 10
