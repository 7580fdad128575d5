import json

import pytest

from compose.cli import main
from stream import schemas
from stream.settings import names


@pytest.fixture(autouse=True)
def _settings(monkeypatch, broker):
    for name in names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("COLUMNS", "200")


def test_list_shows_how_each_topic_is_kept(capsys, monkeypatch):
    monkeypatch.setenv("VERISTREAM_TOPICS__PREFIX", "eu.")
    assert main(["topics", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("eu.models" in line and "last of each key" in line for line in lines)
    assert any("eu.feedback " in line and "for ever" in line for line in lines)
    assert any("eu.uploads.dlq" in line and "14 d" in line for line in lines)


def test_list_for_machines(capsys):
    assert main(["topics", "list", "--json"]) == 0
    topics = {topic["topic"]: topic for topic in json.loads(capsys.readouterr().out)["topics"]}
    assert topics["models"]["config"]["cleanup.policy"] == "compact"


def test_ensure_fails_where_topics_are_missing_and_cannot_be_created(capsys, broker):
    broker.create_topic("uploads", 3)
    assert main(["topics", "ensure"]) == 1
    out = capsys.readouterr().out
    assert "3 partitions instead of 8" in out
    assert "cannot create topics" in out
    assert main(["topics", "ensure", "--json"]) == 1
    reports = {report["topic"]: report for report in json.loads(capsys.readouterr().out)["topics"]}
    assert (reports["uploads"]["state"], reports["models"]["state"]) == ("differs", "missing")


@pytest.mark.kafka
def test_ensure_creates_them_on_a_real_broker(capsys, kafka_node, monkeypatch):
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", kafka_node.bootstrap)
    monkeypatch.setenv("VERISTREAM_TOPICS__PREFIX", "cli.")
    monkeypatch.setenv("VERISTREAM_TOPICS__PARTITIONS", "2")
    for state in ("created", "exists"):
        assert main(["topics", "ensure", "--json"]) == 0
        reports = json.loads(capsys.readouterr().out)["topics"]
        assert {report["state"] for report in reports} == {state}


def test_schemas_are_compared_and_written(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(schemas.stale, "__defaults__", (tmp_path,))
    monkeypatch.setattr(schemas.write, "__defaults__", (tmp_path,))
    assert main(["topics", "schemas", "--check"]) == 2
    assert "out of date" in capsys.readouterr().err
    assert main(["topics", "schemas", "--write"]) == 0
    assert (tmp_path / "asyncapi.yaml").exists()
    assert main(["topics", "schemas"]) == 0
