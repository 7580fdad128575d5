import json

import pytest

from compose.cli import main
from stream import deadletter
from stream.errors import BlobNotFound, TruncatedImage, VeristreamError
from stream.kafka import KafkaProducer
from stream.records import Outgoing, Record
from stream.settings import KafkaSettings, names
from stream.snapshot import read_all


@pytest.fixture(autouse=True)
def kafka(monkeypatch, broker) -> KafkaSettings:
    for name in names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("COLUMNS", "200")
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    for topic in ("uploads", "uploads.dlq", "embeddings.dlq"):
        broker.create_topic(topic, 1)
    producer = KafkaProducer(settings, client_id="test")
    producer.send(letter("cat", TruncatedImage("the picture [red]ends[/red] at row 7", remedy="Ask for a new upload")))
    producer.send(letter("dog", BlobNotFound("there is no such file", where="file:///gone.jpg")))
    producer.send(letter("vec", BlobNotFound("there is no such file"), source="embeddings"))
    producer.close()
    return settings


def letter(key: str, error: VeristreamError, source: str = "uploads") -> Outgoing:
    record = Record(source, 0, 5, 0, key.encode(), b"bytes", ())
    return deadletter.letter(record, error, stage="decode", attempts=1, model_digest=None, topic=f"{source}.dlq")


def run(capsys, *arguments: str) -> dict:
    assert main(["dlq", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def keys(content: dict) -> list[str]:
    return sorted(found["key"] for found in content["letters"])


def test_list_says_what_where_why_and_what_to_do(capsys):
    assert main(["dlq", "list"]) == 0
    out = capsys.readouterr().out
    for words in (
        "the picture [red]ends[/red] at row 7",
        "Ask for a new upload",
        "file:///gone.jpg",
        "uploads.dlq[0]@1",
    ):
        assert words in out


def test_list_for_machines_filters_and_limits(capsys):
    assert keys(run(capsys, "list")) == ["cat", "dog", "vec"]
    assert keys(run(capsys, "list", "--topic", "uploads")) == ["cat", "dog"]
    assert keys(run(capsys, "list", "--error", "BlobNotFound")) == ["dog", "vec"]
    (newest,) = run(capsys, "list", "--limit", "1", "--topic", "uploads")["letters"]
    assert (newest["letter"], newest["source"]["offset"], newest["bytes"]) == ("uploads.dlq[0]@1", 5, 5)


def test_replay_sends_chosen_letters_once(capsys, kafka):
    chosen = ("replay", "--topic", "uploads", "--offset", "uploads.dlq[0]@1")
    dry = run(capsys, *chosen, "--dry-run")
    assert (dry["replayed"], keys(dry)) == (0, ["dog"])
    assert run(capsys, *chosen)["replayed"] == 1
    assert run(capsys, *chosen)["replayed"] == 0
    assert run(capsys, *chosen, "--again")["replayed"] == 1
    assert main(["dlq", "replay", "--topic", "uploads"]) == 0
    assert "1 letters were replayed" in capsys.readouterr().out
    assert [record.key for record in read_all(kafka, ["uploads"])] == [b"dog", b"dog", b"cat"]


def test_a_topic_without_dead_letters_is_refused_with_those_that_have_them(capsys):
    assert main(["dlq", "list", "--topic", "verdicts"]) == 2
    assert "embeddings, feedback, uploads" in capsys.readouterr().err
