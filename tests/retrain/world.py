"""Labelled traffic to retrain on: uploads on a broker, their verdicts, and what people said of them."""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from compose.embedded.broker import EmbeddedBroker
from compose.variables import environment
from models.bundle import Bundle
from stream import uploads
from stream.blobs import open_store
from stream.events import ImageClaim, ImageFacts, Label, ModelRef, Position, ThresholdIds, Timings, Verdict
from stream.kafka import KafkaProducer
from stream.settings import (
    BlobSettings,
    KafkaSettings,
    RedisSettings,
    RetrainSettings,
    Settings,
    TopicSettings,
    WorkerSettings,
)
from stream.topics import layout
from stream.uploads import Upload
from tests.models.adaptation.bundles import colours

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
DIGEST = "a" * 64


def verdict(upload_id: str, *, at: datetime = START, place: Position | None = None, **changes: Any) -> Verdict:
    """A verdict that only needs an id."""
    given: dict[str, Any] = {
        "upload_id": upload_id,
        "tenant": "acme",
        "verdict": "authentic",
        "p_ai": 0.25,
        "thresholds": ThresholdIds(authentic_below="low", ai_above="high"),
        "model": ModelRef(name="tiny", version="1", digest=DIGEST, provider="CPU", precision="fp32"),
        "image": ImageFacts(sha256="b" * 64, media_type="image/png", width=64, height=64),
        "timings_ms": Timings(queue=1, fetch=1, decode=1, infer=1, total=4),
        "upload_at": place,
        "occurred_at": at,
        "decided_at": at,
    }
    return Verdict(**{**given, **changes})


def label(upload_id: str, said: str = "ai_generated", reviewer: str = "ann", **changes: Any) -> Label:
    """A moderator's label."""
    given: dict[str, Any] = {"origin": "moderator", "at": START + timedelta(minutes=1)}
    return Label(upload_id=upload_id, label=said, reviewer=reviewer, **{**given, **changes})


def png(tiles: np.ndarray) -> bytes:
    """A picture of 64 pixels a side from 4 × 4 mean colours."""
    data = io.BytesIO()
    Image.fromarray(tiles.astype(np.uint8).repeat(16, 0).repeat(16, 1)).save(data, "PNG")
    return data.getvalue()


def pictures(count: int, kind: str, seed: int = 3) -> list[bytes]:
    """Different pictures of a kind; see `tests.models.adaptation.bundles`."""
    return [png(tiles) for tiles in colours(np.random.default_rng(seed), count, kind)]


class World:
    """Settings, topics and a blob store that belong together; ``where`` remembers what lies where."""

    def __init__(self, broker: Any, folder: Path, *, bundle: Bundle | None = None, **retrain: Any) -> None:
        self.broker = broker
        self.blobs = folder / "blobs"
        self.blobs.mkdir()
        given = {"folder": folder / "state", "fewest_labels": 10, "fewest_held_out": 2, "threads": 1, **retrain}
        worker = WorkerSettings()
        if bundle is not None:
            path = folder / "champion.tar"
            path.write_bytes(bundle.pack())
            worker = WorkerSettings(bundle=str(path))
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap=broker.bootstrap, embedded=isinstance(broker, EmbeddedBroker)),
            topics=TopicSettings(prefix=f"t{uuid4().hex[:8]}.", partitions=3),
            redis=RedisSettings(enabled=False),
            blobs=BlobSettings(store=self.blobs.as_uri()),
            worker=worker,
            retrain=RetrainSettings(**given),
        )
        self.store = open_store(self.settings.blobs)
        self.topics = {plain: topic.name for plain, topic in layout(self.settings.topics).items()}
        for plain in ("uploads", "verdicts", "feedback"):
            topic = layout(self.settings.topics)[plain]
            broker.create_topic(topic.name, topic.partitions)
        self.where: dict[str, Position] = {}

    @property
    def environ(self) -> dict[str, str]:
        """The settings as variables."""
        return dict(environment(self.settings))

    def claim(self, data: bytes) -> ImageClaim:
        """The claim check of a picture in the store."""
        digest = hashlib.sha256(data).hexdigest()
        uri = self.store.write(f"uploads/{digest}", data, media_type="image/png")
        return ImageClaim(uri=uri, sha256=digest, media_type="image/png", size=len(data))

    def upload(self, sent: dict[str, bytes | ImageClaim]) -> None:
        """Sends uploads and notes where they lie."""
        from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415

        producer = KafkaProducer(self.settings.kafka, client_id="world")
        for upload_id, content in sent.items():
            event = Upload(upload_id, content, "image/png", "someone", START, tenant="acme")
            producer.send(uploads.encode(event, topic=self.topics["uploads"]))
        producer.close()
        consumer = Consumer(
            {"bootstrap.servers": self.broker.bootstrap, "group.id": "world", "enable.partition.eof": True}
        )
        consumer.assign([TopicPartition(self.topics["uploads"], number, 0) for number in range(3)])
        ends = 0
        while ends < 3:
            message = consumer.poll(60)
            assert message is not None
            if message.error():
                ends += 1
            else:
                at = Position(topic=message.topic(), partition=message.partition(), offset=message.offset())
                self.where[message.key().decode()] = at
        consumer.close()
