import json
import os
import signal
import subprocess
import sys
from uuid import uuid4

import pytest

from compose.cli import main
from stream import messages
from stream import uploads as wire
from stream.consumer import KafkaConsumer
from stream.events import Label, Truth
from stream.kafka import KafkaProducer
from stream.settings import KafkaSettings
from tests.producers.pictures import jpeg
from tests.producers.test_sources import make_zip
from tests.producers.traffic.events import START, verdict


@pytest.fixture
def bootstrap(broker, monkeypatch):
    for topic in ("uploads", "uploads.backfill", "truth", "verdicts", "feedback"):
        broker.create_topic(topic, 4)
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", broker.bootstrap)
    return broker.bootstrap


@pytest.fixture
def images(tmp_path):
    reals = {f"real/camera/{number}.jpg": jpeg(number, 48) for number in range(8)}
    return make_zip(tmp_path / "set.zip", reals | {f"fake/gan/{n}.jpg": jpeg(50 + n, 48) for n in range(8)})


def read_all(bootstrap, topic, count, eventually):
    # The embedded broker lets nobody into a group for a while that somebody has left.
    group, records = f"all-{uuid4().hex}", []
    consumer = KafkaConsumer(KafkaSettings(bootstrap=bootstrap), group=group, client_id="all")
    consumer.subscribe([topic], on_assign=lambda _: None, on_revoke=lambda _: None)
    try:
        eventually(lambda: records.extend(consumer.poll(500, 0.1)) or len(records) >= count)
    finally:
        consumer.close()
    return records


def test_traffic_whose_scenario_has_moderators_is_labelled(bootstrap, images, tmp_path, capsys, eventually):
    scenario = tmp_path / "mine.yaml"
    text = "name: m\nphases: [{name: a, events: 40, rate: 400}]\nmoderators: {share: 1, poisoned: 1, error: 0}"
    scenario.write_text(text)
    run = ["traffic", "run", "--images", str(images), "--scenario", str(scenario)]
    assert main([*run, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["labels_given"]
    assert (told["given"], told["wrong"]) == (40, 40)
    labels = [messages.decode(record, Label) for record in read_all(bootstrap, "feedback", 40, eventually)]
    truths = [messages.decode(record, Truth) for record in read_all(bootstrap, "truth", 40, eventually)]
    known = {truth.upload_id: truth.label for truth in truths}
    assert all(label.label != known.pop(label.upload_id) for label in labels)
    assert main(run) == 0
    assert "40 wrong" in capsys.readouterr().out


def test_traffic_is_sent_and_graded(bootstrap, images, capsys, eventually):
    run = ["traffic", "run", "--images", str(images), "--rate", "400", "--events", "60", "--seed", "3"]
    assert main([*run, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sent"], report["seed"], report["scenario"]) == (60, 3, "calm")
    truths = [messages.decode(record, Truth) for record in read_all(bootstrap, "truth", 60, eventually)]
    producer = KafkaProducer(KafkaSettings(bootstrap=bootstrap), client_id="test")
    for truth in truths[:50]:
        said = verdict(truth.upload_id, truth.label, 0.9 if truth.label == "ai_generated" else 0.1)
        producer.send(messages.encode(said, topic="verdicts", key=truth.upload_id, source="test", time=START))
    producer.close()
    assert main(["traffic", "evaluate", "--idle", "0.5", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert (score["uploads"], score["joined"], score["lost"], score["accuracy"]) == (60, 50, 10, 1.0)
    assert main(["traffic", "evaluate", "--idle", "0.5"]) == 0
    table = capsys.readouterr().out
    assert "family gan" in table
    assert "100.0%" in table


def test_people_see_a_table(bootstrap, images, capsys):
    assert main(["traffic", "run", "--images", str(images), "--rate", "400", "--duration", "0.2"]) == 0
    assert "Scenario calm" in capsys.readouterr().out


def test_scenarios_are_listed(capsys):
    assert main(["traffic", "scenarios"]) == 0
    assert "new-generator" in capsys.readouterr().out
    assert main(["traffic", "scenarios", "--json"]) == 0
    assert {scenario["name"] for scenario in json.loads(capsys.readouterr().out)} >= {"calm", "spam"}


def test_an_unknown_scenario_names_those_there_are(bootstrap, capsys):
    assert main(["traffic", "run", "--scenario", "clam"]) == 2
    assert "burst, calm" in capsys.readouterr().err


def test_backfill_tells_people_and_machines(bootstrap, images, tmp_path, capsys):
    state = str(tmp_path / "state.jsonl")
    assert main(["backfill", str(images), "--state", state, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["delivered"], summary["complete"]) == (16, True)
    assert main(["backfill", str(images), "--state", state]) == 0
    assert "delivered before" in capsys.readouterr().out
    assert main(["backfill", str(tmp_path / "none")]) == 2


def test_a_killed_backfill_goes_on_and_every_picture_arrives(bootstrap, tmp_path, eventually):
    count = 120
    source = make_zip(tmp_path / "many.zip", {f"{number:03}.jpg": jpeg(number) for number in range(count)})
    state = tmp_path / "state.jsonl"
    arguments = ["backfill", str(source), "--state", str(state), "--json"]
    command = [sys.executable, "-c", "import sys; from compose.cli import main; sys.exit(main(sys.argv[1:]))"]
    with subprocess.Popen(
        [*command, *arguments, "--rate", "100"], env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        eventually(lambda: state.exists() and state.read_bytes().count(b"\n") > 20)
        first.send_signal(signal.SIGKILL)
    assert state.read_bytes().count(b"\n") <= count
    second = subprocess.run([*command, *arguments], env=os.environ, capture_output=True, text=True, check=True)
    summary = json.loads(second.stdout)
    assert summary["found"] == count
    assert summary["done_before"] >= 20
    assert summary["delivered"] == count - summary["done_before"]
    # What was sent and not yet noted when the kill came is sent twice, under the same id.
    records = read_all(bootstrap, "uploads.backfill", count, eventually)
    uploads = {upload.id: upload.content for upload in map(wire.decode, records)}
    assert sorted(uploads.values()) == sorted(jpeg(number) for number in range(count))
