"""An alarm's pages in S3: how they get there, and how people see them."""

import hashlib
import io
import json
import webbrowser
from pathlib import Path
from urllib.request import url2pathname

import numpy as np
import pytest

from compose.cli import main
from compose.variables import environment
from drift.facts import Facts
from drift.pages import figures_uri
from drift.suspects_page import render
from stream import messages, uploads
from stream.blobs import open_store
from stream.events import ComponentDrift, DriftReport, ImageClaim, Position, Window
from stream.kafka import KafkaProducer
from stream.settings import BlobSettings, KafkaSettings, Settings
from stream.topics import layout
from tests.drift import alarms
from tests.drift.test_labels import verdict
from tests.models.pictures import encoded, gradient

SUSPECT = "u7"


@pytest.fixture(params=["moto", pytest.param("server", marks=pytest.mark.s3)])
def bucket(request):
    return request.getfixturevalue("s3_moto" if request.param == "moto" else "s3_server")


@pytest.fixture
def configured(broker, monkeypatch):
    """Makes settings those of the command line as well."""

    def configure(**blobs) -> Settings:
        kafka = KafkaSettings(bootstrap=broker.bootstrap, embedded=True)
        settings = Settings(kafka=kafka, blobs=BlobSettings(**blobs))
        topics = layout(settings.topics)
        for name in ("drift", "uploads"):
            broker.create_topic(topics[name].name, 1)
        for name, value in environment(settings).items():
            monkeypatch.setenv(name, value)
        return settings

    return configure


@pytest.fixture
def opened(monkeypatch, tmp_path) -> list[str]:
    """What a browser was asked to open."""
    asked = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", asked.append)
    return asked


def upload(settings: Settings, content: ImageClaim) -> Facts:
    """Uploads a picture by claim check; returns what the monitor knows once its verdict was read."""
    one = uploads.Upload(SUSPECT, content, content.media_type, "a", alarms.AT)
    producer = KafkaProducer(settings.kafka, client_id="test")
    producer.send(uploads.encode(one, topic="uploads"))
    producer.flush(10)
    producer.close()
    facts = Facts(10)
    place = Position(topic="uploads", partition=0, offset=0)
    facts.remember(verdict(SUSPECT, 0.9).model_copy(update={"upload_at": place}))
    return facts


def test_pages_in_s3_are_written_found_and_opened(bucket, configured, opened, capsys, tmp_path):
    settings = configured(
        store=f"s3://{bucket.name}/state",
        s3_endpoint=bucket.endpoint,
        s3_access_key=bucket.access_key,
        s3_secret_key=bucket.secret_key,
    )
    store, picture = open_store(settings.blobs), encoded(gradient(), "PNG")
    uri = store.write("pictures/u7.png", picture, media_type="image/png")
    digest = hashlib.sha256(picture).hexdigest()
    facts = upload(settings, ImageClaim(uri=uri, sha256=digest, media_type="image/png", size=len(picture)))
    alarms.publish(settings, 1)
    told = alarms.publish(settings, 2, facts, (SUSPECT,))
    place = f"s3://{bucket.name}/state/drift/{told.report_id}"
    assert (told.report_uri, told.suspects_uri) == (f"{place}/report.html", f"{place}/suspects.html")
    with np.load(io.BytesIO(store.read(figures_uri(told), limit=10_000_000)), allow_pickle=False) as figures:
        assert set(figures.files) == {"reference", "current", "names", "thresholds", "shifts"}

    assert main(["drift", "report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suspects_uri"] == told.suspects_uri
    assert main(["drift", "report", "--no-open"]) == 0
    assert f"Evidently's report: {told.report_uri}\nsuspects: {told.suspects_uri}\n" in capsys.readouterr().out
    assert opened == []

    assert main(["drift", "report"]) == 0
    report, suspects = (Path(url2pathname(uri.removeprefix("file://"))) for uri in opened)
    assert report.read_bytes() == alarms.PAGE
    assert "One upload that looks new" in suspects.read_text()
    assert SUSPECT in suspects.read_text()
    assert "data:image/jpeg;base64," in suspects.read_text()
    assert '<a href="report.html">' in suspects.read_text()
    assert {page.parent.parent for page in (report, suspects)} == {tmp_path}
    # Copies of people's pictures are not left behind unsaid.
    assert f"copied to {report.parent}; delete it when you are done" in capsys.readouterr().out

    kept = tmp_path / "alarms" / "last"
    assert main(["drift", "report", "--no-open", "--to", str(kept)]) == 0
    assert {page.name for page in kept.iterdir()} == {"report.html", "suspects.html"}
    assert len(opened) == 2
    assert main(["drift", "report", "--no-open", "--to", str(kept / "report.html")]) == 2
    assert "cannot be copied" in capsys.readouterr().err


def test_a_page_that_is_gone_is_said(s3_moto, configured, opened, capsys, tmp_path):
    settings = configured(store=f"s3://{s3_moto.name}/state")
    told = alarms.publish(settings, 1)
    client = s3_moto.client()
    client.delete_object(Bucket=s3_moto.name, Key=f"state/drift/{told.report_id}/suspects.html")
    client.close()
    assert main(["drift", "report"]) == 1
    assert told.suspects_uri in capsys.readouterr().err.replace("\n", "")
    assert opened == []
    assert not list(tmp_path.glob("veristream-alarm-*"))


def test_an_alarm_is_told_while_s3_is_away(configured, opened, capsys):
    away = configured(
        store="s3://elsewhere/state", s3_endpoint="http://127.0.0.1:1", s3_access_key="a", s3_secret_key="b",
        timeout_s=1,
    )  # fmt: skip
    told = alarms.publish(away, 1)
    assert (told.report_uri, told.suspects_uri) == (None, None)
    assert main(["drift", "report"]) == 0
    assert "suspects: was not made" in capsys.readouterr().out
    assert opened == []


def test_pages_in_a_folder_are_opened_where_they_lie(configured, opened, tmp_path):
    told = alarms.publish(configured(store=tmp_path.as_uri()), 1)
    assert main(["drift", "report"]) == 0
    assert opened == [told.report_uri, told.suspects_uri]


def test_the_status_is_readable_in_a_narrow_terminal(configured, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    settings = configured(store=tmp_path.as_uri())
    alarm = alarms.publish(settings, 1)
    early = alarm.model_copy(
        update={"status": "warning", "reason": "early warning", "window": alarm.window.model_copy(update={"ends": {}})}
    )
    producer = KafkaProducer(settings.kafka, client_id="test")
    producer.send(messages.encode(early, topic="drift", key="early", source="t", time=early.at))
    producer.close()
    assert main(["drift", "status"]) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "alarm      aaaaaaaaaaaa  embeddings, all tenants, 200  2026-01-01 01:00:00",
        "           the residual drifted",
        "warning    aaaaaaaaaaaa  embeddings, all tenants, 200  2026-01-01 01:00:00",
        "           early warning",
    ]
    alarms.publish(settings, 2)
    assert main(["drift", "status", "--json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)["evaluations"]] == ["alarm"]


def test_a_page_of_many_columns_shows_what_is_beyond_and_folds_the_rest_away():
    parts = [
        ComponentDrift(name=f"component {n}", statistic="s", value=v, threshold=1.0, alarmed=v > 1)
        for n, v in enumerate([12345.0] * 20 + [0.5] * 110)
    ]
    report = DriftReport(
        report_id="r", model_digest="m" * 64, status="alarm", components=tuple(parts),
        window=Window(id="w", size=500), at=alarms.AT,
    )  # fmt: skip
    page = render(report, [])
    shown, _, folded = page.partition("<summary>110 more, farther from their thresholds</summary>")
    assert (shown.count("12,345"), folded.count("<tr><td>component")) == (20, 110)
    assert "No single upload stands out" in page
    assert "report.html" not in page
    few = render(report.model_copy(update={"components": tuple(parts[:3])}), [])
    assert "<details>" not in few
