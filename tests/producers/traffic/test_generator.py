import itertools
import threading
from collections import Counter

import pytest

from producers.traffic import scenario
from producers.traffic.generator import TrafficGenerator, limited
from producers.traffic.pictures import Subject
from producers.traffic.plan import Plan
from producers.upload import UploadProducer
from stream import messages
from stream import uploads as wire
from stream.doubles import ManualClock, MemoryBroker, MemoryProducer
from stream.errors import DeliveryFailed
from stream.events import Truth
from tests.producers.pictures import jpeg

FAMILIES = {"gan": ("gan",), "trained": ("gan",), "unseen": ("gan",)}


class FewPictures:
    """Fifty subjects, each shot a distinct JPEG, taking as long as it is told to."""

    def __init__(self, clock, slow_s=0.0):
        self._clock = clock
        self._slow_s = slow_s
        self._shots = itertools.count()

    def families(self):
        return FAMILIES

    def subject(self, label, family, random):
        return Subject(label, family or "camera", random.randrange(50))

    def shoot(self, subject, tier, random):
        self._clock.advance(self._slow_s)
        return jpeg(subject.number) + str((next(self._shots), random.random())).encode()


class SkippingStop(threading.Event):
    """Waiting moves the clock and returns at once."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def wait(self, timeout=None):
        self._clock.advance(timeout)
        return self.is_set()


class Run:
    def __init__(self, name="calm", events=500, *, seed=1, slow_s=0.0):
        self.memory, self.clock = MemoryBroker(), ManualClock()
        producer = MemoryProducer(self.memory)
        self.generator = TrafficGenerator(
            UploadProducer(producer),
            producer,
            FewPictures(self.clock, slow_s),
            truth_topic="truth",
            seed=seed,
            clock=self.clock,
        )
        self.plan = list(limited(Plan(scenario.load(name), FAMILIES, seed=seed, endless=True), events=events))
        self.stop = SkippingStop(self.clock)

    def play(self, **options):
        return self.generator.run(self.plan, stop=self.stop, **options)

    def uploads(self):
        return {upload.id: upload for upload in map(wire.decode, self.memory.records("uploads"))}

    def truths(self):
        truths = (messages.decode(record, Truth) for record in self.memory.records("truth"))
        return sorted(truths, key=lambda truth: truth.upload_id)


def test_every_upload_has_its_truth_and_nothing_of_it_travels_with_the_upload():
    run = Run()
    summary = run.play()
    uploads, truths = run.uploads(), run.truths()
    assert summary.sent == len(uploads) == len(truths) == 500
    assert {truth.upload_id for truth in truths} == set(uploads)
    for planned, truth in zip(run.plan, truths, strict=True):
        upload = uploads[truth.upload_id]
        assert (truth.label, truth.persona, truth.phase) == (planned.label, planned.post.persona, planned.phase)
        assert truth.family == (planned.family if truth.label == "ai_generated" else "camera")
        assert (upload.uploader, upload.occurred_at) == (planned.post.uploader, truth.sent_at)
    for record in run.memory.records("uploads"):
        names = {name for name, _ in record.headers}
        assert not names & {"ce_label", "ce_family", "ce_persona", "ce_tier", "ce_phase"}


def test_the_schedule_does_not_drift():
    run = Run(slow_s=0.001)
    summary = run.play()
    start = run.clock.now() - summary.seconds
    for planned, truth in zip(run.plan, run.truths(), strict=True):
        assert truth.sent_at.timestamp() - start == pytest.approx(planned.at_s, abs=0.05)
    assert summary.lag.percentile(0.5) < 1.0


def test_a_run_that_is_too_slow_says_how_late_it_was():
    run = Run(events=300, slow_s=0.1)
    summary = run.play()
    assert summary.rate == pytest.approx(10, rel=0.05)
    assert summary.lag.percentile(0.5) > 5_000
    assert summary.report()["lag_ms"]["max"] == pytest.approx((summary.seconds - run.plan[-1].at_s) * 1000, rel=0.01)


def test_it_catches_up_after_a_pause():
    run = Run(events=400)

    seen = itertools.count()

    def stall(truth):
        if next(seen) == 50:
            run.clock.advance(2.0)

    summary = run.play(on_truth=stall)
    assert summary.lag.percentile(1.0) > 1_000
    assert summary.seconds == pytest.approx(run.plan[-1].at_s, abs=0.05)


def test_copies_are_the_same_bytes_and_all_else_differs():
    run = Run("spam", events=6000)
    summary = run.play()
    contents = Counter(upload.content for upload in run.uploads().values())
    assert len(contents) == summary.sent - summary.repeats["copy"]
    assert summary.repeats["copy"] > 100
    assert summary.repeats["again"] > 500


def test_the_summary_counts_what_was_sent():
    run = Run()
    report = run.play().report()
    for name in ("labels", "families", "personas", "tiers", "phases", "repeats"):
        assert sum(report[name].values()) == report["sent"] == 500
    assert report["bytes"] == sum(len(upload.content) for upload in run.uploads().values())


def test_it_stops_when_told():
    run = Run()

    seen = itertools.count(1)

    def after_ten(truth):
        if next(seen) == 10:
            run.stop.set()

    assert run.play(on_truth=after_ten).sent == 10


def test_an_upload_or_truth_that_is_not_delivered_is_an_error():
    run = Run(events=5)
    run.memory.refuse_next_send(DeliveryFailed("disk full"))
    with pytest.raises(DeliveryFailed, match="1 upload not delivered"):
        run.play()
    run = Run(events=5)

    def refuse_second(truth):
        run.memory.away = True

    with pytest.raises(DeliveryFailed, match="not delivered"):
        run.play(on_truth=refuse_second, flush_s=0.01)


def test_a_lost_truth_is_told_as_such():
    memory, broken, clock = MemoryBroker(), MemoryBroker(), ManualClock()
    broken.refuse_next_send(DeliveryFailed("no such topic"))
    generator = TrafficGenerator(
        UploadProducer(MemoryProducer(memory)),
        MemoryProducer(broken),
        FewPictures(clock),
        truth_topic="truth",
        seed=1,
        clock=clock,
    )
    plan = limited(Plan(scenario.load("calm"), FAMILIES, seed=1, endless=True), events=3)
    with pytest.raises(DeliveryFailed, match=r"1 truth not delivered.*no such topic"):
        generator.run(plan, stop=SkippingStop(clock))


def test_limits_end_a_plan_at_whichever_comes_first():
    plan = Plan(scenario.load("calm"), FAMILIES, seed=1, endless=True)
    assert len(list(limited(plan, events=7))) == 7
    timed = list(limited(plan, duration_s=3.0))
    assert timed[-1].at_s < 3.0 < next(itertools.islice(plan, len(timed), None)).at_s
    assert len(list(limited(plan, events=7, duration_s=3.0))) == 7


def test_the_same_seed_shoots_the_same_subjects():
    orders = []
    for _ in range(2):
        run = Run(events=50, seed=9)
        run.play()
        orders.append([upload.content for _, upload in sorted(run.uploads().items())])
    assert orders[0] == orders[1]
