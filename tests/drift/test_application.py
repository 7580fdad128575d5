"""Faust against brokers: what it reads, and who it says it is."""

import asyncio
import contextlib
import uuid
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from compose.embedded.broker import EmbeddedBroker
from drift.application import Application
from drift.changelog import ensure_changelog
from drift.rollups import changelog
from drift.transport import CommittedTransport, addresses, credentials
from stream.records import Record
from stream.settings import DriftSettings, KafkaSettings, Settings, TopicSettings
from stream.topics import layout
from tests.drift.test_labels import verdict

PARTITIONS = 2
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def settings_at(broker) -> Settings:
    embedded = isinstance(broker, EmbeddedBroker)
    prefix = f"app-{uuid.uuid4().hex[:8]}."
    settings = Settings(
        # The embedded broker lets nobody join again until it has forgotten whoever left.
        kafka=KafkaSettings(bootstrap=broker.bootstrap, session_timeout_ms=2000 if embedded else 10_000),
        topics=TopicSettings(prefix=prefix, partitions=PARTITIONS),
        drift=DriftSettings(),
    )
    for plain in ("embeddings", "verdicts"):
        broker.create_topic(layout(settings.topics)[plain].name, PARTITIONS)
    return settings


@dataclass
class Read:
    """What was read, and what the table held before the first record and after the last."""

    records: list[Record]
    before: list[int]
    after: list[int]


async def read_until(settings: Settings, last: bytes, *, counted: bool = False) -> Read:
    """Reads up to the record that says ``last``."""
    read = Read([], [], [])
    done = asyncio.Event()

    def totals() -> list[int]:
        shares = application.rollups.shares() if application.rollups is not None else []
        return [share.counts["ai_generated"] for share in shares]

    async def take(record: Record) -> None:
        if not read.records:
            read.before = totals()
        read.records.append(record)
        if application.rollups is not None:
            application.rollups.count(verdict("u", 0.9), record.partition, record.offset)
        if record.value == last:
            done.set()

    application = Application(settings, {"verdicts": take}, counted=counted)
    await application.start()
    try:
        await asyncio.wait_for(done.wait(), 60)
        read.after = totals()
        return read
    finally:
        await application.stop()


async def test_only_what_was_committed_is_read(kafka_node):
    settings = settings_at(kafka_node)
    topic = layout(settings.topics)["verdicts"].name
    producer = Producer({"bootstrap.servers": kafka_node.bootstrap, "transactional.id": topic})
    await asyncio.to_thread(producer.init_transactions, 60)
    for value in (b"aborted", b"kept"):
        producer.begin_transaction()
        producer.produce(topic, value, b"key", headers=[("name", b"\xff"), ("empty", None)])
        producer.flush(60)
        (producer.abort_transaction if value == b"aborted" else producer.commit_transaction)(30)
    found = (await read_until(settings, b"kept")).records
    assert [(record.value, record.key, record.headers) for record in found] == [
        (b"kept", b"key", (("name", b"\xff"), ("empty", b"")))
    ]


async def test_the_table_is_read_back_after_a_restart(any_broker):
    settings = settings_at(any_broker)
    name, verdicts = changelog(settings)
    if isinstance(any_broker, EmbeddedBroker):
        assert not await asyncio.to_thread(ensure_changelog, settings)
        any_broker.create_topic(name, PARTITIONS)
    assert await asyncio.to_thread(ensure_changelog, settings)
    assert await asyncio.to_thread(ensure_changelog, settings)
    producer = Producer({"bootstrap.servers": any_broker.bootstrap})
    # Faust commits some time after it has read, so the last records may be read again: they must not be counted again.
    for before, total, new in (([], 3, range(3)), ([3], 5, range(3, 5))):
        for number in new:
            producer.produce(verdicts.name, b"%d" % number, b"a key", partition=0)
        producer.flush(60)
        read = await read_until(settings, b"%d" % new[-1], counted=True)
        assert (read.before, read.after) == (before, [total])


async def test_no_record_is_lost_while_the_table_is_read_back(any_broker, monkeypatch):
    """Faust empties its agents' queues when the table is there; what had come by then must come again."""
    settings = settings_at(any_broker)
    name, verdicts = changelog(settings)
    if isinstance(any_broker, EmbeddedBroker):
        any_broker.create_topic(name, PARTITIONS)
    await asyncio.to_thread(ensure_changelog, settings)
    producer = Producer({"bootstrap.servers": any_broker.bootstrap})

    def send(values: list[bytes]) -> None:
        for value in values:
            producer.produce(verdicts.name, value, b"a key", partition=0)
        producer.flush(60)

    await asyncio.to_thread(send, [b"0", b"1"])
    await read_until(settings, b"1", counted=True)

    came = asyncio.Event()
    seek, message = CommittedTransport.Consumer.perform_seek, CommittedTransport.Consumer._to_message

    async def seek_slowly(consumer) -> None:
        await seek(consumer)
        came.clear()
        # Long enough for records to come, if any may: an idle fetch answers after a tenth of a second.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(came.wait(), 2)

    def noticed(consumer, tp, record):
        if tp.topic == verdicts.name:
            came.set()
        return message(consumer, tp, record)

    monkeypatch.setattr(CommittedTransport.Consumer, "perform_seek", seek_slowly)
    monkeypatch.setattr(CommittedTransport.Consumer, "_to_message", noticed)
    new = [b"%d" % number for number in range(2, 50)]
    await asyncio.to_thread(send, new)
    values = [record.value for record in (await read_until(settings, new[-1], counted=True)).records]
    assert [value for value in values if value in new] == new


async def test_nothing_is_left_in_the_working_directory(embedded_broker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = settings_at(embedded_broker)
    producer = Producer({"bootstrap.servers": embedded_broker.bootstrap})
    producer.produce(layout(settings.topics)["verdicts"].name, b"last", b"a key")
    producer.flush(60)
    assert (await read_until(settings, b"last")).records
    assert list(tmp_path.iterdir()) == []


def test_credentials_come_from_the_settings(tmp_path):
    def kafka(protocol: str) -> KafkaSettings:
        return KafkaSettings(
            bootstrap="one:9092, two:9093",
            security_protocol=protocol,
            sasl_mechanism="SCRAM-SHA-256",
            sasl_username="drift",
            sasl_password=SecretStr("hidden"),
        )

    assert addresses(kafka("PLAINTEXT")) == ["kafka://one:9092", "kafka://two:9093"]
    assert credentials(kafka("PLAINTEXT")) is None
    found = credentials(kafka("SASL_SSL"))
    assert (found.protocol.value, found.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-256")
    assert (found.username, found.password) == ("drift", "hidden")
    assert credentials(kafka("SASL_PLAINTEXT")).protocol.value == "SASL_PLAINTEXT"
    assert credentials(kafka("SSL")).protocol.value == "SSL"
