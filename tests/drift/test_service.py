"""The whole service as a process on an embedded broker: killed, restarted, alarmed, stopped."""

import json
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from compose.cli import main
from compose.embedded.processes import ChildProcess, veristream_command
from drift.reference import Reference
from drift.rollups import changelog
from models.slotbook import NAME, Book, Held, Slots
from stream import deadletter, embeddings, messages
from stream.embeddings import Embedding
from stream.events import DriftReport, Label, SlotChange
from stream.kafka import KafkaProducer
from stream.records import Outgoing
from stream.settings import KafkaSettings, Settings
from stream.snapshot import read_all
from stream.topics import layout
from tests.drift import worlds
from tests.drift.test_labels import verdict

READY_S = 60.0
PROMOTED = "b" * 64


class Site:
    def __init__(self, broker, folder, port: int):
        self.settings = Settings(kafka=KafkaSettings(bootstrap=broker.bootstrap, embedded=True))
        for topic in layout(self.settings.topics).values():
            broker.create_topic(topic.name, topic.partitions)
        name, verdicts = changelog(self.settings)
        broker.create_topic(name, verdicts.partitions)
        self.blobs = folder / "blobs"
        self.keep(worlds.DIGEST, worlds.reference(repetitions=400).to_bytes())
        self.port = port
        self.environment = {
            "VERISTREAM_KAFKA__BOOTSTRAP": broker.bootstrap,
            "VERISTREAM_KAFKA__EMBEDDED": "true",
            # The embedded broker lets nobody join until it has forgotten whoever was killed or left.
            "VERISTREAM_KAFKA__SESSION_TIMEOUT_MS": "3000",
            "VERISTREAM_BLOBS__STORE": self.blobs.as_uri(),
            "VERISTREAM_DRIFT__WINDOW": str(worlds.WINDOW),
            "VERISTREAM_DRIFT__REFERENCE": "300",
            "VERISTREAM_DRIFT__PORT": str(port),
        }
        self.process = ChildProcess("drift", veristream_command("drift", "run"), folder, env=self.environment)
        self.producer = KafkaProducer(self.settings.kafka, client_id="test")
        self.sent = 0
        self.changes = [Slots()]

    def kept(self, digest: str) -> Path:
        """Where a model's reference lies once it has one."""
        return self.blobs / "bundles" / digest / "reference.npz"

    def keep(self, digest: str, reference: bytes) -> None:
        path = self.kept(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(reference)

    def start(self) -> None:
        self.process.start()
        self.process.wait_for_line('"event": "ready"', READY_S)

    def slot(self, slot: str, digest: str) -> None:
        """As `models.slotbook` does it: the book first, then the topic. A champion ends the trial."""
        now, uri = datetime.now(UTC), f"file:///{digest}"
        ended = {"challenger": None, "shadow": None} if slot == "champion" else {}
        held = {slot: Held(digest=digest, uri=uri)}
        self.changes.append(self.changes[-1].model_copy(update={**ended, **held, "at": now}))
        (self.blobs / NAME).write_bytes(Book(changes=tuple(self.changes[1:])).to_json())
        change = SlotChange(slot=slot, uri=uri, digest=digest, at=now)
        self.producer.send(messages.encode(change, topic="models", key=slot, source="t", time=change.at))
        self.producer.flush(60)

    def seen(self, vectors, scores, digest: str = worlds.DIGEST) -> None:
        for vector, score in zip(vectors, scores, strict=True):
            name, now = f"u{self.sent}", datetime.now(UTC)
            self.sent += 1
            seen = Embedding(name, vector.astype(np.float16), digest, float(score), f"tenant{self.sent % 2}", now)
            said = verdict(name, float(score)).model_copy(update={"decided_at": now})
            self.producer.send(embeddings.encode(seen, topic="embeddings", source="t"))
            self.producer.send(messages.encode(said, topic="verdicts", key=name, source="t", time=now))
        self.producer.flush(60)

    def reports(self, digest: str = worlds.DIGEST) -> list[DriftReport]:
        found = [messages.decode(record, DriftReport) for record in read_all(self.settings.kafka, ["drift"])]
        # Early warnings speak of windows that are not full yet.
        return [r for r in found if r.model_digest == digest and r.tenant is None and r.window.ends]

    def letters(self, topic: str) -> list[str]:
        return sorted(deadletter.read(record).error for record in read_all(self.settings.kafka, [topic]))


@pytest.fixture
def site(broker, tmp_path, free_port):
    site = Site(broker, tmp_path, free_port)
    with site.process:
        yield site
    site.producer.close()


def test_a_life_of_the_service(site, eventually, monkeypatch, capsys):
    site.slot("champion", worlds.DIGEST)
    site.start()
    site.seen(*worlds.usual(450, seed=11))
    site.producer.send(Outgoing("embeddings", b"bad", b"xx"))
    site.producer.send(Outgoing("embeddings", b"bad", None))
    now = datetime.now(UTC)
    label = Label(upload_id="u0", label="authentic", origin="moderator", reviewer="r", at=now)
    site.producer.send(messages.encode(label, topic="feedback", key="u0", source="t", time=now))
    site.producer.send(Outgoing("feedback", b"u1", b"no label"))
    site.producer.flush(60)
    eventually(lambda: len(site.reports()) == 2 and site.letters("feedback.dlq"))
    first = site.reports()

    # Killed in the middle of a window: the next life takes the rest of it up.
    site.process.kill()
    site.seen(*worlds.usual(100, seed=12))
    site.start()
    site.seen(*worlds.usual(50, seed=13))
    eventually(lambda: len(site.reports()) == 3)
    site.seen(*worlds.contaminated(400, seed=14, share=0.4))
    eventually(lambda: any(report.status == "alarm" for report in site.reports()))
    eventually(lambda: len(site.reports()) == 5)
    reports = site.reports()
    assert reports[:2] == first
    assert len({report.window.id for report in reports}) == 5
    assert {report.window.size for report in reports} == {worlds.WINDOW}
    assert [sum(report.window.ends.values()) for report in reports[-1:]] == [1000 + 2]
    # Whoever is killed may write a letter a second time.
    assert set(site.letters("embeddings.dlq")) == set(site.letters("feedback.dlq")) == {"MalformedEvent"}

    alarm = next(report for report in reports if report.status == "alarm")
    assert "tenants whose uploads drifted: tenant0" in alarm.reason
    assert alarm.suspects
    folder = site.blobs / "drift" / alarm.report_id
    assert {path.name for path in folder.iterdir()} == {"report.html", "suspects.html", "window.npz"}
    assert alarm.suspects[0] in (folder / "suspects.html").read_text()
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/rollups/") as answer:
        shares = json.load(answer)["shares"]
    assert sum(row["verdicts"] for row in shares) == 1000

    assert site.process.terminate(60) == 0

    check_commands(site, alarm.report_id, monkeypatch, capsys)


def check_commands(site, alarm, monkeypatch, capsys):
    for name, value in site.environment.items():
        monkeypatch.setenv(name, value)
    assert main(["drift", "status", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["evaluations"]
    assert {row["model_digest"] for row in rows if row["tenant"] is None} == {worlds.DIGEST}
    assert main(["drift", "report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report_id"] == alarm


def test_a_promoted_models_reference_is_what_it_saw_on_trial(site, eventually):
    site.slot("champion", worlds.DIGEST)
    site.slot("challenger", PROMOTED)
    site.start()
    # Its own world: what the champion's reference would call drift is what it is promoted into.
    trial = 3 * worlds.WINDOW
    site.seen(*worlds.contaminated(trial, seed=21, share=0.4), digest=PROMOTED)
    eventually(lambda: len(site.reports(PROMOTED)) == 3, 60)
    assert [report.reference for report in site.reports(PROMOTED)] == [""] * 3
    assert not site.kept(PROMOTED).exists()

    site.slot("champion", PROMOTED)
    eventually(site.kept(PROMOTED).exists, 60)
    frozen = Reference.read(site.kept(PROMOTED).read_bytes(), where="here", model_digest=PROMOTED)
    site.seen(*worlds.contaminated(worlds.WINDOW, seed=22, share=0.4), digest=PROMOTED)
    eventually(lambda: len(site.reports(PROMOTED)) == 4, 60)
    after = site.reports(PROMOTED)[-1]
    assert (after.reference, after.status) == (frozen.digest, "ok")


def test_a_model_promoted_while_nobody_watches_gets_what_it_saw_on_trial(site, eventually):
    site.slot("champion", worlds.DIGEST)
    site.slot("challenger", PROMOTED)
    site.start()
    site.seen(*worlds.contaminated(worlds.WINDOW, seed=21, share=0.4), digest=PROMOTED)
    eventually(lambda: len(site.reports(PROMOTED)) == 1, 60)
    assert site.process.terminate(60) == 0

    site.seen(*worlds.contaminated(2 * worlds.WINDOW, seed=22, share=0.4), digest=PROMOTED)
    site.slot("champion", PROMOTED)
    reign, scores = worlds.contaminated(worlds.WINDOW, seed=23, share=0.4)
    site.seen(reign[:50], scores[:50], digest=PROMOTED)
    site.start()
    eventually(site.kept(PROMOTED).exists, 60)
    frozen = Reference.read(site.kept(PROMOTED).read_bytes(), where="here", model_digest=PROMOTED)
    assert not {row.tobytes() for row in frozen.vectors} & {row.tobytes() for row in reign.astype("<f2").astype("<f4")}
    site.seen(reign[50:], scores[50:], digest=PROMOTED)
    # The window before the last one may be judged with or without the reference, as both come at once.
    eventually(lambda: len(site.reports(PROMOTED)) >= 4, 60)
    after = site.reports(PROMOTED)
    assert (after[-1].reference, after[-1].status) == (frozen.digest, "ok")
    # What an earlier life could compare with nothing was read back for the reference, and is not told again.
    assert len({report.window.id for report in after}) == len(after) == 4
