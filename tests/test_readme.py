"""What the README tells producers and subscribers to write works as it stands there."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from compose.embedded.broker import EmbeddedBroker
from stream import messages, uploads
from stream.events import ImageFacts, ModelRef, ThresholdIds, Timings, Verdict
from stream.kafka import KafkaProducer
from stream.settings import KafkaSettings
from stream.snapshot import read_all
from tests.models.pictures import encoded, gradient

README = Path(__file__).parent.parent / "README.md"
NOW = datetime.now(UTC)
JPEG = encoded(gradient(), "JPEG")


class EnoughError(Exception):
    """Ends an example that would go on for ever."""


@pytest.fixture
def kafka(broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """A broker with the two topics, and a folder with pictures to stand in."""
    for topic in ("uploads", "verdicts"):
        broker.create_topic(topic, 1)
    (tmp_path / "pictures").mkdir()
    for name in ("cat.jpg", "pictures/dog.jpg"):
        (tmp_path / name).write_bytes(JPEG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", broker.bootstrap)
    return KafkaSettings(bootstrap=broker.bootstrap)


def run(mark: str, kafka: KafkaSettings, prints: int) -> list[tuple[Any, ...]]:
    """Runs the one example in which these words stand until it has printed so often; returns what it printed."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if mark in block]
    printed: list[tuple[Any, ...]] = []

    def told(*words: Any) -> None:
        printed.append(words)
        if len(printed) == prints:
            raise EnoughError

    here = code.replace("127.0.0.1:9092", kafka.bootstrap)
    with suppress(EnoughError):
        exec(compile(here, str(README), "exec"), {"print": told})
    return printed


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("mark", ["import UploadProducer", "import Producer\n"])
def test_what_a_producer_writes_is_an_upload(mark: str, kafka: KafkaSettings) -> None:
    run(mark, kafka, prints=0)
    (upload,) = (uploads.decode(record) for record in read_all(kafka, ["uploads"]))
    assert (upload.content, upload.media_type, upload.uploader) == (JPEG, "image/jpeg", "account-17")


@pytest.mark.parametrize("mark", ["import VerdictSubscriber", "import Consumer\n"])
def test_a_subscriber_gets_the_verdict(mark: str, kafka: KafkaSettings) -> None:
    producer = KafkaProducer(kafka, client_id="test")
    producer.send(messages.encode(verdict("u-1"), topic="verdicts", key="u-1", source="t", time=NOW))
    producer.close()
    ((upload_id, *_),) = run(mark, kafka, prints=1)
    assert upload_id == "u-1"


def verdict(upload_id: str) -> Verdict:
    return Verdict(
        upload_id=upload_id,
        verdict="ai_generated",
        p_ai=0.97,
        thresholds=ThresholdIds(authentic_below="low", ai_above="high"),
        model=ModelRef(name="m", version="1", digest="0" * 64, provider="CPUExecutionProvider", precision="fp32"),
        image=ImageFacts(sha256="0" * 64, media_type="image/jpeg", width=48, height=32),
        timings_ms=Timings(queue=0, fetch=0, decode=0, infer=0, total=0),
        occurred_at=NOW,
        decided_at=NOW,
    )
