"""`veristream retrain`: a person's trigger, and where jobs stand, for people and for machines."""

import json
from datetime import UTC, datetime

import pytest

from compose.cli import main
from compose.variables import environment
from stream import messages
from stream.events import RetrainStep
from stream.kafka import KafkaProducer
from stream.settings import BlobSettings, KafkaSettings, Settings, TopicSettings
from stream.topics import layout


@pytest.fixture
def settings(broker, tmp_path, monkeypatch):
    settings = Settings(
        kafka=KafkaSettings(bootstrap=broker.bootstrap, embedded=True),
        topics=TopicSettings(partitions=1),
        blobs=BlobSettings(store=tmp_path.as_uri()),
    )
    for topic in layout(settings.topics).values():
        broker.create_topic(topic.name, topic.partitions)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "240")
    return settings


def send(settings, *steps: RetrainStep) -> None:
    producer = KafkaProducer(settings.kafka, client_id="test")
    for step in steps:
        producer.send(messages.encode(step, topic="retrain", key=step.job_id, source="test", time=step.at))
    producer.close()


def test_a_person_asks_for_one_job_and_sees_it(settings, capsys):
    assert main(["retrain", "status"]) == 0
    assert "No job was ever asked for" in capsys.readouterr().out
    assert main(["retrain", "start", "a new camera", "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert main(["retrain", "start"]) == 2
    assert f"job {asked['job']} is under way (requested)" in capsys.readouterr().err
    assert main(["retrain", "status", "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)["jobs"]
    assert (job["job"], job["trigger"], job["over"]) == (asked["job"], "person: a new camera", False)
    assert job["parent"] == asked["champion"]
    assert main(["retrain", "cancel", asked["job"][:6], "no such camera"]) == 0
    assert main(["retrain", "cancel", asked["job"]]) == 2
    assert f"job {asked['job']} is failed" in capsys.readouterr().err
    assert main(["retrain", "status"]) == 0
    assert "cancelled by a person: no such camera" in " ".join(capsys.readouterr().out.split())
    assert main(["retrain", "start", "another camera"]) == 0
    assert main(["models", "history"]) == 0
    assert "the bundle that the workers start with" in " ".join(capsys.readouterr().out.split())


def test_a_refused_job_says_every_reason(settings, capsys):
    at = datetime(2026, 11, 21, tzinfo=UTC)
    send(
        settings,
        RetrainStep(job_id="abc123", step="requested", trigger="drift: [red]the score[/red]", at=at),
        RetrainStep(
            job_id="abc123", step="refused", reasons=("false positives rose", "too slow"),
            figures={"seconds": 2.5}, at=at,
        ),
        RetrainStep(job_id="abd", step="requested", trigger="schedule: 14 days", at=at),
    )  # fmt: skip
    assert main(["retrain", "show", "abc"]) == 0
    shown = capsys.readouterr().out
    for word in ("drift: [red]the score[/red]", "refused", "false positives rose", "too slow", "seconds 2.5"):
        assert word in shown
    assert main(["retrain", "show", "abc123", "--json"]) == 0
    assert [step["step"] for step in json.loads(capsys.readouterr().out)["steps"]] == ["requested", "refused"]
    assert main(["retrain", "status"]) == 0
    assert "false positives rose; too slow" in " ".join(capsys.readouterr().out.split())
    for unclear in ("ab", "zzz"):
        assert main(["retrain", "show", unclear]) == 2
        assert "jobs have an id that begins with" in capsys.readouterr().err


def test_running_needs_a_store(settings, monkeypatch, capsys):
    monkeypatch.setenv("VERISTREAM_BLOBS__STORE", "")
    assert main(["retrain", "run"]) == 2
    assert "VERISTREAM_BLOBS__STORE" in capsys.readouterr().err


def test_a_golden_set_that_is_not_there_is_said_at_the_start(settings, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VERISTREAM_RETRAIN__GOLDEN", str(tmp_path / "none.zip"))
    monkeypatch.setenv("VERISTREAM_RETRAIN__FOLDER", str(tmp_path / "state"))
    assert main(["retrain", "run"]) == 2
    assert "none.zip" in capsys.readouterr().err
