import json

import pytest

from compose.loop_report import loop_report, loop_rows
from compose.until import ENOUGH, missed, out_of_reach, reached
from tests.compose.stories import NEW, OLD, PROMOTED_S, at, view


class TestReport:
    def test_a_promotion(self):
        found = loop_report(view())
        rollout = found["rollout"]
        assert rollout["promoted"] is True
        assert rollout["alarm_at"] == at(74).isoformat()
        assert rollout["alarm_after_s"] == 14.0
        assert rollout["alarm_after_uploads"] == 140
        assert rollout["seconds"] == PROMOTED_S - 60
        assert rollout["accuracy_after"] - rollout["accuracy_before"] > 0.5
        low, high = rollout["accuracy_after_ci95"]
        assert low < rollout["accuracy_after"] < high
        assert rollout["fpr_after"] == pytest.approx(0.02, abs=0.01)
        assert found["gate"]["refused"] is False
        assert found["drift"] == {"evaluations": 6, "alarms": 1, "false_alarms": 0, "alarms_on_promoted": 0}
        assert [step["step"] for step in found["steps"]][-2:] == ["promoted", "serving"]
        assert found["slots"]["champion"]["digest"] == NEW
        assert {(line["digest"], line["arm"]) for line in found["models"]} == {
            (OLD, "champion"), (NEW, "challenger"), (NEW, "champion"),
        }  # fmt: skip
        assert json.loads(json.dumps(found)) == found

    def test_a_refusal(self):
        found = loop_report(view(refused=True))
        assert found["gate"]["refused"] is True
        assert found["gate"]["figures"]["golden_fpr_challenger"] == 0.011
        assert found["rollout"]["promoted"] is False
        assert found["rollout"]["seconds"] is found["rollout"]["accuracy_after"] is None
        assert "refused; false-positive rate" in loop_rows(found)["gate"]

    def test_a_loop_that_has_not_begun(self):
        found = loop_report(view(10))
        assert found["rollout"]["alarm_at"] is found["gate"]["refused"] is None
        assert found["steps"] == []
        assert loop_rows(found)["alarm"] == "none since it entered"

    def test_rows_for_people(self):
        rows = loop_rows(loop_report(view()))
        assert rows["new family"] == "grain"
        assert rows["alarm"] == "14 s after it entered"
        assert "33.6%" in rows["accuracy on it"]
        assert "95.1%" in rows["accuracy on it"]
        assert rows["promoted"] == "after 90 s"


class TestUntil:
    @pytest.mark.parametrize(
        ("point", "before", "after", "refused"), [("alarm", 73, 75, False), ("gated", 97.5, 99, True)]
    )
    def test_a_point_is_reached_when_it_happened(self, point, before, after, refused):
        assert not reached(view(before, refused=refused), point)
        assert reached(view(after, refused=refused), point)

    def test_promoted_waits_for_enough_uploads_to_state_the_accuracy(self, monkeypatch):
        assert not reached(view(), "promoted")
        assert view().numbers.accuracy_after.of < ENOUGH
        monkeypatch.setattr("compose.until.ENOUGH", 200)
        assert reached(view(), "promoted")
        assert not reached(view(PROMOTED_S + 20), "promoted")

    def test_a_gate_that_lets_it_pass_ends_the_waiting_for_a_refusal(self):
        assert out_of_reach(view(99), "gated")
        assert not out_of_reach(view(97.5), "gated")
        assert not out_of_reach(view(99), "promoted")
        assert "let the challenger pass" in missed(view(99), "gated", 60)

    def test_a_point_that_was_missed_says_how_far_it_came(self):
        assert missed(view(94), "promoted", 60).startswith("not promoted within 60 s; the last thing was trained")
        assert missed(view(10), "alarm", 60).endswith("nothing happened")
