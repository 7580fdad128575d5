"""The coordinator from trigger to end, killed at every write it makes, and beside people who change slots by hand."""

from collections import Counter
from pathlib import Path

import pytest

from models.registry import Registry
from retrain.gate import GateReport
from stream.errors import BlobUnavailable, DatasetUnfit, JobInterrupted
from tests.models.tiny import tiny_bundle, tiny_graph
from tests.retrain.control import BAD, Control, Death, Fate

WAY = ["requested", "dataset_built", "trained", "evaluated", "registered", "shadow", "canary", "promoted"]


@pytest.fixture
def control(tmp_path: Path):
    control = Control(tmp_path)
    yield control
    control.ledger.close()


def names(control: Control) -> list[str]:
    return [step.step for step in control.steps()]


def test_an_alarm_becomes_a_champion(control):
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator)
    steps = control.steps()
    assert names(control) == WAY
    assert {step.parent for step in steps} == {control.champion.digest}
    assert steps[0].trigger == "drift: the score moved"
    assert steps[-1].model_digest == control.challenger.digest
    assert "no proof of harm" in steps[-1].reason
    assert control.slots() == {
        "champion": control.challenger.digest, "previous": control.champion.digest, "challenger": None, "shadow": None,
    }  # fmt: skip
    assert control.metrics.registry.get_sample_value("veristream_retrain_steps_total", {"step": "promoted"}) == 1


def test_a_job_waits_for_labels_of_both_classes_and_says_so(control):
    coordinator = control.start()
    control.alarm()
    with pytest.raises(AssertionError):
        control.go(coordinator, turns=50)
    assert names(control) == ["requested"]
    sample = control.metrics.registry.get_sample_value
    assert sample("veristream_retrain_waiting") == 1
    assert sample("veristream_retrain_labels", {"label": "needed"}) == 5
    control.labelled()
    control.go(coordinator)
    assert names(control) == WAY
    assert sample("veristream_retrain_waiting") == 0


def test_labels_of_the_time_before_the_drift_do_not_count(control):
    coordinator = control.start()
    control.labelled()
    control.clock.advance(100)
    control.alarm()
    with pytest.raises(AssertionError):
        control.go(coordinator, turns=50)
    assert names(control) == ["requested"]


def test_labels_that_never_come_end_the_job(tmp_path):
    control = Control(tmp_path, labels_s=100.0)
    coordinator = control.start()
    control.alarm()
    control.go(coordinator)
    assert names(control) == ["requested", "failed"]
    assert "0 authentic and 0 machine-made labels" in control.steps()[-1].reason
    control.ledger.close()


def test_the_gates_refusal_ends_the_job_in_words(tmp_path):
    control = Control(
        tmp_path, report=GateReport(False, ("false positives rose", "too slow"), {"golden_fpr_change": 0.1})
    )
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator)
    last = control.steps()[-1]
    assert names(control) == ["requested", "dataset_built", "trained", "refused"]
    assert last.reasons == ("false positives rose", "too slow")
    assert last.figures["golden_fpr_change"] == 0.1
    assert control.slots() == {"champion": control.champion.digest}
    assert not any("bundle.tar" in uri and control.challenger.digest in uri for uri in control.blobs.objects)
    control.ledger.close()


def test_a_bad_challenger_is_rolled_back_and_the_champion_stays(tmp_path):
    control = Control(tmp_path, worth=BAD)
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator)
    assert names(control)[-1] == "rolled_back"
    assert "accuracy on the same labelled uploads" in control.steps()[-1].reason
    slots = control.book.read()
    assert slots.champion.digest == control.champion.digest
    assert (slots.challenger, slots.shadow, slots.previous) == (None, None, None)
    control.ledger.close()


def _writes(tmp_path: Path) -> int:
    (tmp_path / "count").mkdir()
    control, fate = Control(tmp_path / "count"), Fate()
    coordinator = control.start(fate)
    control.alarm()
    control.labelled()
    control.go(coordinator)
    control.ledger.close()
    return fate.writes


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_it_goes_on_and_takes_no_step_twice(tmp_path, after):
    writes = _writes(tmp_path)
    assert writes > 20
    for at in range(1, writes + 1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        control = Control(folder)
        control.alarm()
        control.labelled()
        with pytest.raises(Death):
            control.go(control.start(Fate(at, after=after)), turns=5000)
        control.clock.advance(5.0)
        control.go(control.start(), until={"promoted", "rolled_back", "failed", "refused"})
        steps = names(control)
        assert steps == WAY, (at, steps)
        assert max(Counter(steps).values()) == 1
        slots = control.book.read()
        assert (slots.champion.digest, slots.previous.digest) == (control.challenger.digest, control.champion.digest)
        assert control.slots() == {
            "champion": control.challenger.digest, "previous": control.champion.digest, "challenger": None,
            "shadow": None,
        }  # fmt: skip
        control.ledger.close()


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_a_roll_back_it_does_not_roll_the_champion_back(tmp_path, after):
    for back in range(1, 5):
        folder = tmp_path / f"{back}"
        folder.mkdir()
        probe = Control(folder, worth=BAD)
        probe.alarm()
        probe.labelled()
        fate = Fate()
        probe.go(probe.start(fate))
        total = fate.writes
        probe.ledger.close()
        again = tmp_path / f"{back}-again"
        again.mkdir()
        control = Control(again, worth=BAD)
        control.alarm()
        control.labelled()
        with pytest.raises(Death):
            control.go(control.start(Fate(total - back + 1, after=after)))
        control.go(control.start())
        assert names(control)[-1] == "rolled_back"
        assert control.book.read().champion.digest == control.champion.digest
        assert control.slots()["champion"] == control.champion.digest
        control.ledger.close()


def test_an_outage_is_waited_for(control):
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator, until={"registered"})
    control.blobs.away = True
    with pytest.raises(AssertionError):
        control.go(coordinator, turns=20)
    assert names(control)[-1] == "registered"
    failures = control.metrics.registry.get_sample_value
    assert failures("veristream_retrain_failures_total", {"error": "BlobUnavailable"}) > 0
    control.blobs.away = False
    control.go(coordinator)
    assert names(control) == WAY


def test_what_cannot_be_mended_is_said_and_the_next_alarm_starts_anew(control):
    control.errors.append(DatasetUnfit("two pictures are not enough", where="labelled pictures"))
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator)
    assert names(control) == ["requested", "failed"]
    assert "two pictures are not enough" in control.steps()[-1].reason
    control.clock.advance(3601)
    control.alarm("w2")
    control.labelled()
    control.go(coordinator, until={"promoted"})
    assert names(control) == ["requested", "failed", *WAY]


def test_a_waiting_job_that_a_person_ends_makes_room_for_the_next(control):
    coordinator = control.start()
    control.alarm()
    control.go(coordinator, until={"requested"})
    (asked,) = control.steps()
    control.send("retrain", asked.model_copy(update={"step": "failed", "reason": "cancelled"}), asked.job_id, asked.at)
    control.clock.advance(3601)
    control.alarm("w2")
    control.labelled()
    control.go(coordinator, until={"promoted"})
    assert names(control) == ["requested", "failed", *WAY]
    assert len({step.job_id for step in control.steps()}) == 2


def test_a_job_whose_process_dies_is_tried_again_and_not_for_ever(control):
    control.errors += [JobInterrupted("killed"), BlobUnavailable("away for a moment")]
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator)
    assert names(control) == WAY
    assert control.jobs.runs == 3


def test_a_job_that_dies_three_times_is_failed(control):
    control.errors += [JobInterrupted("killed")] * 3
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator)
    assert names(control) == ["requested", "failed"]


def test_a_person_may_promote_a_challenger_at_once(control):
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator, until={"shadow"})
    control.book.promote(control.challenger.digest, "it is good enough")
    control.go(coordinator)
    assert names(control)[-1] == "promoted"
    assert control.steps()[-1].reason == "it is good enough"


def test_a_person_may_end_a_trial(control):
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator, until={"shadow"})
    control.book.clear("not on a Friday")
    control.go(coordinator)
    assert names(control)[-1] == "rolled_back"
    assert "not on a Friday" in control.steps()[-1].reason
    assert control.book.read().champion.digest == control.champion.digest


def test_a_trial_of_somebody_else_is_waited_for(control):
    coordinator = control.start()
    mine = tiny_bundle(tiny_graph(scale=1 / 64))
    Registry(control.blobs).register(mine)
    control.book.shadow(mine.digest, reason="trying something")
    control.alarm()
    control.labelled()
    with pytest.raises(AssertionError):
        control.go(coordinator, turns=300)
    assert names(control)[-1] == "registered"
    control.book.clear("tried")
    control.go(coordinator)
    assert names(control)[-1] == "promoted"


def test_a_challenger_is_not_tried_against_a_champion_it_was_not_judged_against(control):
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator, until={"registered"})
    other = tiny_bundle(tiny_graph(scale=1 / 64))
    Registry(control.blobs).register(other)
    control.book.promote(other.digest, "an emergency")
    control.go(coordinator)
    assert names(control)[-1] == "failed"
    assert "was replaced: an emergency" in control.steps()[-1].reason


def test_a_second_alarm_while_a_job_is_under_way_starts_no_other(control):
    coordinator = control.start()
    control.alarm()
    control.labelled()
    control.go(coordinator, until={"trained"})
    control.alarm("w2")
    control.go(coordinator)
    assert names(control) == WAY
    # And after it the old champion's alarms say nothing.
    control.clock.advance(1e6)
    with pytest.raises(AssertionError):
        control.go(coordinator, until={"failed"}, turns=50)
    assert names(control) == WAY
