"""When a job is due, and when not: whatever comes in whatever order, never two at once and never the same twice."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.champion import Champion
from retrain.history import ENDS, STEPS, History
from retrain.triggers import Triggers, by_person
from stream.events import ComponentDrift, DriftReport, RetrainStep, Window
from stream.settings import RetrainSettings

START = datetime(2026, 11, 1, tzinfo=UTC)
CHAMPION = Champion("c" * 64, "memory://champion", START)
SETTINGS = RetrainSettings(cooldown_s=600, every_s=14 * 86_400, quota=100)


def report(status: str = "alarm", window: str = "w1", at: datetime = START, **changes: object) -> DriftReport:
    given = {
        "report_id": f"{window}-{status}", "model_digest": CHAMPION.digest, "reference": "ref", "status": status,
        "window": Window(id=window, size=10, first_at=at - timedelta(minutes=5)), "at": at, "reason": "component 3",
    }  # fmt: skip
    return DriftReport(**{**given, **changes})


def step(job_id: str, name: str, at: datetime = START) -> RetrainStep:
    return RetrainStep(job_id=job_id, step=name, at=at)


def done(history: History, job_id: str, at: datetime, end: str = "refused") -> None:
    history.see(step(job_id, "requested", at))
    history.see(step(job_id, end, at))


def test_an_alarm_names_its_job_and_its_time():
    triggers = Triggers(SETTINGS)
    triggers.see(report())
    request = triggers.due(CHAMPION, History(), START)
    assert request.job_id == hashlib.sha256(f"{CHAMPION.digest}|ref|w1".encode()).hexdigest()[:16]
    assert request.trigger == "drift: component 3"
    assert request.since == START - timedelta(minutes=5)
    assert request.model_uri == CHAMPION.uri


def test_words_for_a_tenants_alarm_and_for_a_fall_on_labels():
    triggers = Triggers(SETTINGS)
    part = ComponentDrift(name="accuracy", statistic="fall", value=0.2, threshold=0.1, alarmed=True)
    triggers.see(report(kind="labels", reason="", tenant="acme", components=[part]))
    assert triggers.due(CHAMPION, History(), START).trigger == "degradation of tenant acme: accuracy"


def test_what_holds_over_all_tenants_comes_first():
    triggers = Triggers(SETTINGS)
    triggers.see(report(window="tenant", tenant="acme"))
    triggers.see(report(window="all", at=START + timedelta(minutes=1)))
    assert triggers.due(CHAMPION, History(), START).window == "all"


@pytest.mark.parametrize("status", ["ok", "recovered"])
def test_an_alarm_that_has_passed_starts_nothing(status):
    triggers = Triggers(SETTINGS)
    triggers.see(report())
    triggers.see(report("warning", "w2"))
    assert triggers.due(CHAMPION, History(), START) is not None
    triggers.see(report(status, "w3"))
    assert triggers.due(CHAMPION, History(), START) is None


def test_another_models_alarm_starts_nothing():
    triggers = Triggers(SETTINGS)
    triggers.see(report(model_digest="d" * 64))
    assert triggers.due(CHAMPION, History(), START) is None


def test_one_job_at_a_time_a_pause_after_it_and_no_window_twice():
    triggers, history = Triggers(SETTINGS), History()
    triggers.see(report())
    job_id = triggers.due(CHAMPION, history, START).job_id
    history.see(step(job_id, "requested"))
    triggers.see(report(window="w2"))
    assert triggers.due(CHAMPION, history, START + timedelta(days=1)) is None
    history.see(step(job_id, "refused", START + timedelta(hours=1)))
    assert triggers.due(CHAMPION, history, START + timedelta(hours=1, seconds=599)) is None
    assert triggers.due(CHAMPION, history, START + timedelta(hours=1, seconds=600)).window == "w2"
    triggers.see(report(window="w1"))
    assert triggers.due(CHAMPION, history, START + timedelta(hours=2)) is None


def test_the_schedule_counts_from_the_last_job_and_from_the_champions_first_day():
    triggers, history = Triggers(SETTINGS), History()
    assert triggers.due(CHAMPION, history, START + timedelta(days=13.9)) is None
    first = triggers.due(CHAMPION, history, START + timedelta(days=14))
    assert first.trigger == "schedule: nothing was retrained for 14.0 days"
    assert triggers.due(CHAMPION, history, START + timedelta(days=15)).job_id == first.job_id
    done(history, first.job_id, START + timedelta(days=15))
    assert triggers.due(CHAMPION, history, START + timedelta(days=20)) is None
    assert triggers.due(CHAMPION, history, START + timedelta(days=29)).job_id != first.job_id
    assert Triggers(RetrainSettings(every_s=0)).due(CHAMPION, history, START + timedelta(days=999)) is None


def test_the_quota_counts_labels_since_the_last_job():
    triggers, history = Triggers(SETTINGS), History()
    assert triggers.due(CHAMPION, history, START, fresh_labels=99) is None
    request = triggers.due(CHAMPION, history, START, fresh_labels=100)
    assert request.trigger.startswith("labels: 100 labelled uploads since")
    done(history, request.job_id, START + timedelta(days=1))
    assert triggers.quota_since(CHAMPION, history) == START + timedelta(days=1)


def test_a_person_asks_for_a_job_of_its_own_each_time():
    asked = [by_person(CHAMPION, "new camera", START + timedelta(seconds=n), settings=SETTINGS) for n in range(3)]
    assert len({request.job_id for request in asked}) == 3
    assert asked[0].trigger == "person: new camera"


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("report"),
            st.sampled_from(["ok", "warning", "alarm", "recovered"]),
            st.integers(0, 5),
            st.sampled_from([None, "acme"]),
        ),
        st.tuples(st.just("end"), st.sampled_from(sorted(ENDS))),
        st.tuples(st.just("time"), st.integers(1, 20 * 86_400)),
        st.tuples(st.just("labels"), st.integers(0, 200)),
    ),
    max_size=60,
)


@given(EVENTS)
def test_never_two_at_once_never_one_twice_never_before_the_pause_is_over(events):
    triggers, history, now, fresh = Triggers(SETTINGS), History(), START, 0
    asked: list[str] = []
    for kind, *given_ in events:
        if kind == "report":
            status, window, tenant = given_
            triggers.see(report(status, f"w{window}", now, tenant=tenant))
        elif kind == "time":
            now += timedelta(seconds=given_[0])
        elif kind == "labels":
            fresh = given_[0]
        elif history.open is not None:
            history.see(step(history.open.id, given_[0], now))
        before, ended = history.open, history.ended_at
        request = triggers.due(CHAMPION, history, now, fresh_labels=fresh)
        if request is None:
            continue
        assert before is None
        assert ended is None or now >= ended + timedelta(seconds=SETTINGS.cooldown_s)
        # Asked again before anything happened, it is the same job.
        assert triggers.due(CHAMPION, history, now, fresh_labels=fresh).job_id == request.job_id
        assert request.job_id not in asked
        asked.append(request.job_id)
        history.see(step(request.job_id, "requested", now))


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(STEPS)), max_size=40))
def test_a_history_with_repetitions_is_the_history(steps):
    once, twice = History(), History()
    for number, (job_id, name) in enumerate(steps):
        event = step(job_id, name, START + timedelta(seconds=number))
        once.see(event)
        news = twice.see(event)
        assert twice.see(event) is False
        assert news == (twice.jobs[job_id].steps.get(name) == event)
    assert {job.id: job.steps for job in once.jobs.values()} == {job.id: job.steps for job in twice.jobs.values()}
    for job in once.jobs.values():
        assert job.over == (job.last.step in ENDS)
        assert sum(name in ENDS for name in job.steps) <= 1


def test_a_job_knows_its_challenger_and_all_figures():
    history = History()
    history.see(step("a", "requested"))
    history.see(RetrainStep(job_id="a", step="trained", model_digest="d" * 64, figures={"auc": 0.9}, at=START))
    history.see(RetrainStep(job_id="a", step="evaluated", figures={"auc": 0.95, "seconds": 3}, at=START))
    job = history.jobs["a"]
    assert (job.first.step, job.last.step, job.challenger) == ("requested", "evaluated", "d" * 64)
    assert job.figures == {"auc": 0.95, "seconds": 3}
    assert history.open is job
    assert history.ended_at is None
