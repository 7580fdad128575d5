"""The demo of the loop from its command line, with the loop's processes played by script and all else real."""

import json
import sys
from pathlib import Path

import pytest

from compose.cli import main
from tests.compose.conftest import picture
from tests.compose.test_demo import processes_mentioning

SCENARIO = """
name: {name}
moderators: {{share: 0.5, delay_s: 0.5}}
phases:
  - {{name: calm, events: 60, rate: 90, families: {{nearest: 1}}}}
  - {{name: entering, events: 1000, rate: 90, fake_share: 0.6, families: {{nearest: 0.1, grain: 0.9}}}}
"""


@pytest.fixture(scope="session")
def growing_pictures(tmp_path_factory) -> Path:
    """Photographs, machine-made pictures that the tiny bundle knows, and a family between the two."""
    folder = tmp_path_factory.mktemp("growing")
    for number in range(6):
        picture(folder / "real" / "camera", f"{number}.jpg", 0, 120)
        picture(folder / "fake" / "nearest", f"{number}.jpg", 140, 255)
        picture(folder / "fake" / "grain", f"{number}.jpg", 90, 140)
    return folder


@pytest.fixture
def play(small_bundle, growing_pictures, private_tmp, tmp_path, monkeypatch):
    """Runs the demo with scripted processes; returns its exit code and its report."""
    monkeypatch.setattr("compose.until.ENOUGH", 60)
    scenario = tmp_path / "growing.yaml"
    scenario.write_text(SCENARIO.format(name="growing"))

    def run(*arguments, drift="drift", retrain="retrain"):
        roles = {"drift": drift, "retrain": retrain}
        commands = {name: [sys.executable, "-m", "tests.compose.scripted_loop", role] for name, role in roles.items()}
        monkeypatch.setattr("compose.companions.COMMANDS", commands)
        out = tmp_path / "report.json"
        common = ["--images", str(growing_pictures), "--scenario", str(scenario), "--json", str(out)]
        code = main(["demo", "--headless", *common, *arguments])
        assert not processes_mentioning(str(private_tmp))
        assert not list(private_tmp.iterdir())
        return code, json.loads(out.read_text()) if out.exists() else None

    return run


def test_a_new_family_is_learned_and_the_report_says_what_it_was_worth(play, tmp_path, capsys):
    picture_file = tmp_path / "dashboard.svg"
    code, found = play("--until", "promoted", "--timeout", "100", "--snapshot", str(picture_file))
    assert code == 0
    assert (found["lost"], found["duplicated"], found["dlq"]) == (0, 0, 0)
    rollout = found["rollout"]
    assert rollout["families"] == ["grain"]
    assert rollout["promoted"] is True
    assert rollout["alarm_at"] > rollout["entered_at"]
    assert rollout["accuracy_before"] == 0.0
    assert rollout["accuracy_after"] == 1.0
    assert rollout["accuracy_after_of"] >= 60
    assert rollout["fpr_before"] == rollout["fpr_after"] == 0.0
    assert found["gate"]["refused"] is False
    assert found["drift"] == {"evaluations": 2, "alarms": 1, "false_alarms": 0, "alarms_on_promoted": 0}
    told = [step["step"] for step in found["steps"] if step["step"] not in ("labels", "serving", "promoted")]
    assert told == [
        "entered", "alarm", "requested", "dataset_built", "trained", "evaluated", "registered", "canary",
    ]  # fmt: skip
    assert {"serving", "promoted"} <= {step["step"] for step in found["steps"]}
    assert found["labels"]["total"] > 0
    assert found["until"] == {"point": "promoted", "timeout_s": 100.0, "reached": True, "missed": ""}
    assert set(found["processes"]) == {"drift", "retrain"}
    assert "grain" in picture_file.read_text()
    assert "100.0%" in capsys.readouterr().out


def test_a_refusal_is_what_gated_waits_for(play):
    code, found = play("--until", "gated", "--timeout", "100", retrain="refuse")
    assert code == 0
    assert found["gate"] == {
        "refused": True,
        "reasons": ["false positives on the golden set rose"],
        "figures": {"labels": 40.0},
    }
    assert found["rollout"]["promoted"] is False
    assert found["lost"] == 0


def test_a_challenger_let_through_is_no_refusal(play, capsys):
    code, found = play("--until", "gated", "--timeout", "100")
    assert code == 1
    assert found["until"]["reached"] is False
    assert "let the challenger pass" in capsys.readouterr().out


def test_out_of_time(play, capsys):
    code, found = play("--until", "promoted", "--timeout", "2", retrain="refuse")
    assert code == 1
    assert found["until"]["reached"] is False
    assert found["lost"] == 0
    assert "not promoted within 2 s" in capsys.readouterr().out


def test_a_process_of_the_loop_that_dies_ends_the_demo_with_its_last_words(play, capsys):
    code, _ = play("--until", "promoted", drift="die")
    assert code == 1
    said = capsys.readouterr().err
    assert "drift ended by itself with exit status 1" in said
    assert "the script says so" in said


def test_a_scenario_in_which_nobody_labels_never_comes_to_a_promotion(capsys):
    assert main(["demo", "--headless", "--scenario", "calm", "--until", "promoted"]) == 2
    assert "nobody labels anything" in capsys.readouterr().err


@pytest.mark.kafka
def test_on_a_broker_of_somebodys_own(play, kafka_node, monkeypatch):
    # A busy broker deletes its topics later than a person waits for.
    monkeypatch.setattr("compose.services._DELETE_S", 60.0)
    before = set(kafka_node._client().list_topics(timeout=60).topics)
    code, found = play("--until", "promoted", "--timeout", "100", "--broker", kafka_node.bootstrap)
    assert code == 0
    assert found["rollout"]["accuracy_after"] == 1.0
    assert (found["lost"], found["duplicated"]) == (0, 0)
    left = {name for name in kafka_node._client().list_topics(timeout=60).topics if not name.startswith("__")}
    assert left <= before
