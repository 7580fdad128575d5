from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.loop_report import loop_report
from compose.loop_view import STAGES
from compose.story import Story
from compose.until import reached
from stream.events import DriftReport, Label, RetrainStep, SlotChange
from tests.compose import stories
from tests.compose.events import truth, verdict
from tests.compose.stories import ENTERS_S, FAMILY, NEW, OLD, PROMOTED_S, at, label, report, slot, step, told


def stage(until_s, **more):
    return told(until_s, **more).view().stage


class TestTheWholeLoop:
    @pytest.mark.parametrize(
        ("second", "expected"),
        [
            (40, "calm"), (61, "entered"), (70, "entered"), (74.5, "alarm"), (76, "labels"), (81, "job"), (94, "job"),
            (97.5, "gate"), (110, "shadow"), (130, "canary"), (200, "promoted"),
        ],
    )  # fmt: skip
    def test_it_moves_from_stage_to_stage(self, second, expected):
        assert stage(second) == expected

    def test_every_step_is_told_once_in_order(self):
        assert [beat.step for beat in told().view().beats] == [
            "entered", "warning", "alarm", "labels", "requested", "dataset_built", "trained", "evaluated",
            "registered", "shadow", "canary", "promoted", "serving",
        ]  # fmt: skip

    def test_when_it_happened(self):
        view = told().view()
        assert view.entered_at == at(ENTERS_S)
        assert view.alarm_at == at(74)
        assert view.promoted_at == at(PROMOTED_S)
        assert next(beat.seconds for beat in view.beats if beat.step == "canary") == pytest.approx(120.2)

    def test_drift_is_counted(self):
        drift = told(100).view().drift
        assert (drift.evaluations, drift.alarms, drift.false_alarms, drift.status) == (5, 1, 0, "alarm")
        assert max(drift.gauges, key=lambda gauge: gauge.ratio).name == "component 1"
        assert drift.history[-1] == pytest.approx(3.1)

    def test_the_gate_that_let_it_pass(self):
        gate = told().view().gate
        assert gate.refused is False
        assert gate.figures["golden_fpr_challenger"] == 0.011

    def test_the_slots(self):
        by_slot = {line.slot: line.digest for line in told().view().slots}
        assert by_slot == {"champion": NEW, "challenger": None, "shadow": None, "previous": OLD}


class TestNumbers:
    def test_before_and_after_are_of_one_model_each_and_leave_the_canary_out(self):
        numbers = told().view().numbers
        # Ten uploads a second, one in four of the new family; the canary took every fifth for 30 s.
        canary = sum(1 for number in range(1202, 1500) if number % 5 == 0 and number % 4 == 0)
        assert numbers.accuracy_before.of == 225 - canary
        assert numbers.accuracy_after.of == 225
        assert numbers.accuracy_before.value == pytest.approx(1 / 3, abs=0.02)
        assert numbers.accuracy_after.value == pytest.approx(0.95, abs=0.01)
        assert numbers.accuracy_after.low < numbers.accuracy_after.value < numbers.accuracy_after.high

    def test_an_abstention_is_wrong_and_photographs_of_calm_days_do_not_count(self):
        story = Story([FAMILY])
        story.begin(OLD)
        stories.tell(story, judged("calm", -5, "camera", "ai_generated"))
        stories.tell(story, judged("a", 0, FAMILY, "uncertain"))
        stories.tell(story, judged("b", 1, FAMILY, "ai_generated"))
        stories.tell(story, judged("c", 2, "camera", "authentic"))
        numbers = story.view().numbers
        assert (numbers.accuracy_before.value, numbers.accuracy_before.of) == (0.5, 2)
        assert (numbers.fpr_before.value, numbers.fpr_before.of) == (0.0, 1)
        assert numbers.accuracy_after.value is None

    def test_a_worker_that_has_not_heard_yet_counts_neither_before_nor_after(self):
        story = told(PROMOTED_S + 1)
        before = story.view().numbers
        stories.tell(story, judged("late", PROMOTED_S + 2, FAMILY, "ai_generated"))
        assert story.view().numbers == before

    def test_a_champion_that_is_taken_back(self):
        story = told()
        story.slotted(slot(241, "champion", OLD))
        view = story.view()
        assert view.promoted_at is None
        assert view.numbers.accuracy_after.of == 0

    @given(st.lists(st.tuples(st.sampled_from([FAMILY, "camera", "nearest"]), st.booleans(), st.booleans())))
    def test_shares_are_shares_whatever_is_said(self, heard):
        story = Story([FAMILY])
        story.begin(OLD)
        for number, (family, fake, new) in enumerate(heard):
            what = judged(str(number), number, family, "ai_generated" if fake else "uncertain", NEW if new else OLD)
            stories.tell(story, what)
        numbers = story.view().numbers
        assert numbers.accuracy_before.of == sum(family == FAMILY and not new for family, _, new in heard)
        for share in (numbers.accuracy_before, numbers.fpr_before):
            assert share.value is None or 0 <= share.low <= share.value <= share.high <= 1


EVERY = [what for _, what in [*stories.loop_events(), *stories.loop_events(refused=True), *stories.traffic(70, 2)]]


def judged(name, second, family, says, digest=OLD):
    what = truth(name, at=at(second), family=family, label="authentic" if family == "camera" else "ai_generated")
    said = verdict(name, at=at(second), says=says)
    return what, said.model_copy(update={"model": said.model.model_copy(update={"digest": digest})})


class TestOtherWays:
    def test_a_refusal_ends_the_round_and_says_why(self):
        view = told(refused=True).view()
        assert view.stage == "gate"
        assert view.gate.refused is True
        assert "rose from 1.1 %" in view.gate.reasons[0]
        assert view.promoted_at is None
        assert view.beats[-1].reasons == view.gate.reasons

    def test_the_next_round_begins_with_its_own_gate(self):
        story = told(refused=True)
        story.stepped(step(300, "requested", trigger="labels"))
        view = story.view()
        assert view.stage == "job"
        assert view.gate.refused is None
        # What it said last is what a report is about.
        assert loop_report(view)["gate"]["refused"] is True
        assert reached(view, "gated")

    def test_a_roll_back(self):
        story = told(130)
        story.stepped(step(131, "rolled_back", model_digest=NEW, reason="disagreement"))
        assert story.view().beats[-1].mood == "bad"
        assert story.view().promoted_at is None

    def test_an_alarm_before_anything_entered_is_false(self):
        story = told(30)
        story.drifted(report(31, "alarm", 0.2, 0.3))
        view = story.view()
        assert (view.drift.alarms, view.drift.false_alarms) == (1, 1)
        assert view.alarm_at is None
        assert view.stage == "calm"

    def test_an_alarm_that_lasts_is_one_and_another_tenant_has_its_own(self):
        story = told(62)
        for second in (70, 71, 72):
            story.drifted(report(second, "alarm", 0.2, 0.3))
        story.drifted(report(73, "alarm", 0.2, 0.3, tenant="north"))
        assert story.view().drift.alarms == 2
        assert story.view().beats[-1].text.startswith("tenant north: ")

    def test_a_warning_that_wavers_is_one_line(self):
        story = told(30)
        for second in range(31, 41):
            story.drifted(report(second, "warning" if second % 2 else "ok", 0.2))
        assert [beat.step for beat in story.view().beats] == ["warning"]

    def test_an_early_warning_leaves_the_last_figures(self):
        story = told(50)
        story.drifted(report(51, "warning", reason="single uploads are unlike anything"))
        assert len(story.view().drift.gauges) == 5
        assert story.view().drift.status == "warning"
        assert story.view().beats[-1].text == "single uploads are unlike anything"

    def test_what_labels_show_is_told_in_the_reports_words(self):
        story = told(62)
        story.drifted(report(63, "alarm", 0.6, kind="labels", reason="accuracy proven to be under 0.85"))
        assert story.view().beats[-1].text == "accuracy proven to be under 0.85"
        assert story.view().alarm_at == at(63)

    def test_alarms_on_a_model_that_is_being_replaced_are_counted_and_not_told(self):
        story = told(94)
        beats = len(story.view().beats)
        story.drifted(report(95, "ok", 0.01))
        story.drifted(report(96, "alarm", 0.3))
        assert len(story.view().beats) == beats
        assert story.view().drift.alarms == 2

    def test_a_window_of_the_former_champion_that_is_judged_late(self):
        story = told(PROMOTED_S + 5)
        beats = story.view().beats
        story.drifted(report(PROMOTED_S + 6, "ok", 0.01))
        story.drifted(report(PROMOTED_S + 7, "alarm", 0.4))
        assert story.view().beats == beats
        assert story.view().stage == "promoted"
        assert story.view().drift.alarms == 2

    def test_an_alarm_on_the_new_champion_begins_another_round(self):
        story = told()
        story.drifted(report(241, "alarm", 0.4, digest=NEW))
        assert story.view().stage == "alarm"
        assert story.view().drift.alarms_on_promoted == 1
        assert story.view().alarm_at == at(74)

    def test_gauges_are_the_champions_own(self):
        story = told(50)
        story.drifted(report(51, "ok", 0.09, 0.09, digest=NEW))
        story.drifted(report(52, "ok", 0.08, 0.08, tenant="north"))
        story.drifted(report(53, "ok", 0.07, kind="labels"))
        assert len(story.view().drift.gauges) == 5
        assert story.view().drift.evaluations == 6

    def test_a_shadow_is_no_promotion(self):
        assert told(110).view().champion == OLD

    def test_the_champion_said_again_is_no_promotion(self):
        story = told(30)
        story.slotted(slot(31, "champion", OLD))
        assert story.view().promoted_at is None

    def test_labels_are_counted_and_told_once_an_alarm_was_raised(self):
        story = told(61)
        story.labelled(label(62, 1))
        assert (story.view().labels.total, story.view().labels.ai_generated) == (1, 1)
        assert story.view().beats[-1].step == "entered"

    def test_whoever_listens_hears_every_beat(self):
        heard = []
        story = Story([FAMILY], heard.append)
        story.begin(OLD)
        stories.tell(story, judged("a", 0, FAMILY, "authentic"))
        story.stepped(step(1, "failed", reason="the disk is full"))
        assert [(beat.step, beat.text) for beat in heard] == [
            ("entered", f"family {FAMILY} enters"),
            ("failed", "the disk is full"),
        ]


@pytest.mark.parametrize("seed", range(40))
def test_events_in_any_order_never_stop_it(seed):
    every = [*stories.loop_events(), *stories.loop_events(refused=True), *stories.traffic(70, 2)]
    story = Story([FAMILY])
    for _, what in Random(seed).sample(every, len(every)):
        stories.tell(story, what)
    view = story.view()
    assert view.stage in STAGES
    assert view.drift.false_alarms <= view.drift.alarms <= view.drift.evaluations


TOPICS = ("drift", "retrain", "models", "feedback")


@given(st.data())
def test_whichever_topic_is_read_first_the_same_is_told_in_the_order_of_the_events_own_times(data):
    topics = {name: [] for name in TOPICS}
    by_kind = {DriftReport: "drift", RetrainStep: "retrain", SlotChange: "models", Label: "feedback"}
    for _, what in stories.loop_events():
        topics[by_kind[type(what)]].append(what)
    expected = heard([what for _, what in stories.loop_events()])
    order = data.draw(st.permutations([name for name, events in topics.items() for _ in events]))
    met = heard([topics[name].pop(0) for name in order])
    assert [(beat.step, beat.at, beat.text) for beat in met.beats] == [
        (beat.step, beat.at, beat.text) for beat in expected.beats
    ]
    assert (met.stage, met.alarm_at, met.promoted_at) == (expected.stage, expected.alarm_at, expected.promoted_at)


def test_an_alarm_that_is_heard_of_after_its_job_has_its_line_and_its_label():
    requested, alarm = step(80, "requested", trigger="drift"), report(74, "alarm", 0.3, 0.2)
    for events in ([alarm, label(75, 1), requested], [requested, label(75, 1), alarm]):
        view = heard(events)
        assert [beat.step for beat in view.beats] == ["entered", "alarm", "labels", "requested"]
        assert view.stage == "job"
        assert view.alarm_at == at(74)


def heard(events):
    """The view of a story in which the new family has entered and then this was heard, in this order."""
    story = Story([FAMILY])
    story.begin(OLD)
    story.sent(truth("u", at=at(ENTERS_S), family=FAMILY))
    for what in events:
        stories.tell(story, what)
    return story.view()


def test_a_first_verdict_is_told_with_its_delay():
    story = told(PROMOTED_S)
    what, said = judged("x", PROMOTED_S + 0.5, FAMILY, "ai_generated", NEW)
    stories.tell(story, (what, said.model_copy(update={"decided_at": at(PROMOTED_S) + timedelta(seconds=0.7)})))
    serving = [beat for beat in story.view().beats if beat.step == "serving"]
    assert len(serving) == 1
