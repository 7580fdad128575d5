"""A site to test a worker in: a broker with every topic, a folder of blobs, a producer, and readers to the end."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from compose.embedded.broker import EmbeddedBroker
from consumers.classify.worker import ClassifyWorker, build
from models.bundle import Bundle
from models.ports import Scorer
from models.registry import Registry
from models.slotbook import SlotBook
from stream import deadletter, embeddings, messages, uploads
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.deadletter import DeadLetter
from stream.embeddings import Embedding
from stream.errors import VeristreamError
from stream.events import ImageClaim, ShadowVerdict, SlotChange, Verdict
from stream.kafka import KafkaProducer
from stream.records import Outgoing, Record
from stream.settings import (
    BlobSettings,
    KafkaSettings,
    RedisSettings,
    Settings,
    TopicSettings,
    WorkerSettings,
)
from stream.tail import KafkaTail
from stream.topics import layout
from stream.uploads import Upload

DEADLINE_S = 60.0
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Site:
    """Settings, topics and clients that belong together."""

    def __init__(self, broker: Any, folder: Path, *, redis_url: str = "", **worker: Any) -> None:
        self.broker = broker
        self.blobs = folder / "blobs"
        self.blobs.mkdir(exist_ok=True)
        given = {"id": "worker", "group": f"classify-{uuid4().hex[:8]}", "stop_timeout_s": 60.0, **worker}
        self.settings = Settings(
            kafka=KafkaSettings(
                bootstrap=broker.bootstrap,
                embedded=isinstance(broker, EmbeddedBroker),
                # The mock cluster forgets a member that left only after this.
                session_timeout_ms=1500 if isinstance(broker, EmbeddedBroker) else 10_000,
            ),
            topics=TopicSettings(prefix=f"t{uuid4().hex[:8]}.", partitions=4),
            redis=RedisSettings(enabled=bool(redis_url), url=redis_url or "redis://127.0.0.1:1/0"),
            blobs=BlobSettings(store=self.blobs.as_uri()),
            worker=WorkerSettings(**given),
        )
        self.topics = {plain: topic.name for plain, topic in layout(self.settings.topics).items()}
        for topic in layout(self.settings.topics).values():
            broker.create_topic(topic.name, topic.partitions)
        self.producer = KafkaProducer(self.settings.kafka, client_id="site")

    def environment(self) -> dict[str, str]:
        """The settings as variables, for a worker in a process of its own."""
        worker = self.settings.worker
        return {
            "VERISTREAM_KAFKA__BOOTSTRAP": self.broker.bootstrap,
            "VERISTREAM_KAFKA__EMBEDDED": str(self.settings.kafka.embedded),
            # A killed worker's partitions come free after this.
            "VERISTREAM_KAFKA__SESSION_TIMEOUT_MS": "1500" if self.settings.kafka.embedded else "2500",
            "VERISTREAM_TOPICS__PREFIX": self.settings.topics.prefix,
            "VERISTREAM_REDIS__ENABLED": str(self.settings.redis.enabled),
            "VERISTREAM_REDIS__URL": self.settings.redis.url.get_secret_value(),
            "VERISTREAM_BLOBS__STORE": self.settings.blobs.store,
            "VERISTREAM_WORKER__ID": worker.id,
            "VERISTREAM_WORKER__GROUP": worker.group,
            "VERISTREAM_WORKER__DELIVERY": worker.delivery,
        }

    def upload(
        self, upload_id: str, content: bytes | ImageClaim, media_type: str = "image/png", **more: Any
    ) -> Outgoing:
        """The record of an upload."""
        event = Upload(
            id=upload_id,
            content=content,
            media_type=media_type,
            uploader="someone",
            occurred_at=datetime.now(UTC),
            tenant="acme",
            traceparent=TRACE,
        )
        return uploads.encode(event, topic=more.get("topic", self.topics["uploads"]))

    def claim(self, data: bytes, media_type: str = "image/png", **changes: Any) -> ImageClaim:
        """The claim check of bytes that lie in the folder."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.blobs / digest
        path.write_bytes(data)
        given = {"uri": path.as_uri(), "sha256": digest, "media_type": media_type, "size": len(data)}
        return ImageClaim(**{**given, **changes})

    def book(self, *bundles: Bundle) -> SlotBook:
        """The book of slots, as a rollout keeps it, and bundles in its registry."""
        registry = Registry(open_store(self.settings.blobs))
        for bundle in bundles:
            registry.register(bundle)
        return SlotBook(registry, self.producer, self.settings.topics, SystemClock())

    def change_model(self, digest: str | None, uri: str | None, slot: str = "champion", share: float = 1.0) -> None:
        """Says on the models topic what belongs into a slot."""
        change = SlotChange(slot=slot, uri=uri, digest=digest, traffic_share=share, at=datetime.now(UTC))
        self.send([messages.encode(change, topic=self.topics["models"], key=slot, source="test", time=change.at)])

    def send(self, records: Sequence[Outgoing]) -> None:
        """Sends records and waits for their acknowledgement."""
        failed: list[VeristreamError] = []
        for record in records:
            self.producer.send(record, lambda error: failed.append(error) if error else None)
        assert self.producer.flush(DEADLINE_S) == 0
        assert not failed

    def read(self, plain: str) -> list[Record]:
        """Every committed record of a topic, from its beginning to its end."""
        tail, found = KafkaTail(self.settings.kafka, self.topics[plain], client_id="reader"), []
        give_up = time.monotonic() + DEADLINE_S
        while not tail.caught_up and time.monotonic() < give_up:
            found += tail.poll(0.05)
        assert tail.caught_up
        tail.close()
        return found

    def verdicts(self) -> list[Verdict]:
        """Every verdict."""
        return [messages.decode(record, Verdict) for record in self.read("verdicts")]

    def opinions(self) -> list[ShadowVerdict]:
        """Every opinion of a shadow."""
        return [messages.decode(record, ShadowVerdict) for record in self.read("verdicts.shadow")]

    def embeddings(self) -> list[Embedding]:
        """Every embedding."""
        return [embeddings.decode(record) for record in self.read("embeddings")]

    def letters(self, plain: str = "uploads.dlq") -> dict[str, DeadLetter]:
        """Every dead letter by key; two of one key fail the test."""
        letters = [deadletter.read(record) for record in self.read(plain)]
        by_key = {(letter.record.key or b"").decode(): letter for letter in letters}
        assert len(by_key) == len(letters)
        return by_key

    def answered(self) -> int:
        """How many uploads have a verdict or a dead letter."""
        return len(self.read("verdicts")) + len(self.read("uploads.dlq"))

    def wait_answered(self, count: int, deadline_s: float = DEADLINE_S) -> None:
        """Waits for so many answers."""
        tails = [
            KafkaTail(self.settings.kafka, self.topics[plain], client_id="waiter")
            for plain in ("verdicts", "uploads.dlq", "uploads.backfill.dlq")
        ]
        give_up, seen = time.monotonic() + deadline_s, 0
        while seen < count:
            assert time.monotonic() < give_up, f"{seen} of {count} answers within {deadline_s} s"
            seen += sum(len(tail.poll(0.01)) for tail in tails)
        for tail in tails:
            tail.close()

    def close(self) -> None:
        """Closes the producer."""
        self.producer.close()


class Running:
    """A worker at work in a thread; leaving the block stops it, and raises what it raised."""

    def __init__(self, worker: ClassifyWorker) -> None:
        self.worker = worker
        self.stop = threading.Event()
        self.ready = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker")
        self._thread.start()

    def holds(self, slot: str) -> str:
        """The first letters of the digest of the model in a slot; empty when there is none."""
        [family] = [each for each in self.worker.metrics.registry.collect() if each.name == "veristream_model_info"]
        return next((each.labels["digest"] for each in family.samples if each.labels["slot"] == slot), "")

    def count(self, metric: str, labels: Mapping[str, str] | None = None) -> float:
        """A metric of the worker's; 0 while it was never counted."""
        return self.worker.metrics.registry.get_sample_value(f"veristream_{metric}", dict(labels or {})) or 0.0

    def join(self, deadline_s: float = DEADLINE_S) -> BaseException | None:
        """Waits for its end; returns what it raised."""
        self._thread.join(deadline_s)
        assert not self._thread.is_alive()
        return self.error

    def _run(self) -> None:
        try:
            self.worker.run(self.stop, self.ready.set)
        except VeristreamError as error:
            self.error = error
        finally:
            self.ready.set()


@contextmanager
def running(site: Site, scorer: Scorer | None = None) -> Iterator[Running]:
    """Runs a worker of a site while the block lasts."""
    run = Running(build(site.settings, scorer=scorer))
    try:
        assert run.ready.wait(DEADLINE_S)
        yield run
    finally:
        run.stop.set()
        run.join()
    if run.error is not None:
        raise run.error
