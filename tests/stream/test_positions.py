"""Single records, read again: what `read_all` sees at a place is found there, and nothing is found elsewhere."""

import random
import uuid

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from compose.embedded.broker import EmbeddedBroker
from stream.errors import BrokerUnavailable
from stream.kafka import KafkaProducer, producer_config
from stream.positions import records_at
from stream.records import Outgoing, Partition
from stream.settings import KafkaSettings
from stream.snapshot import read_all


@pytest.fixture
def settings(any_broker) -> KafkaSettings:
    return KafkaSettings(bootstrap=any_broker.bootstrap, embedded=isinstance(any_broker, EmbeddedBroker))


@pytest.fixture
def topic(any_broker) -> str:
    name = f"positions-{uuid.uuid4().hex[:8]}"
    any_broker.create_topic(name, 2)
    return name


def send(settings: KafkaSettings, topic: str, count: int, value: bytes = b"plain") -> None:
    """Records of one key, so that they lie one behind the other."""
    producer = KafkaProducer(settings, client_id="t")
    for _ in range(count):
        producer.send(Outgoing(topic, b"one", value))
    producer.close()


def transact(settings: KafkaSettings, topic: str, *, commit: bool) -> None:
    producer = Producer(producer_config(settings, "t") | {"transactional.id": topic})
    producer.init_transactions(10)
    for partition in (0, 1):
        producer.begin_transaction()
        for number in range(5):
            producer.produce(topic, partition=partition, value=b"%d" % number)
        producer.flush(10)
        (producer.commit_transaction if commit else producer.abort_transaction)(10)


def test_any_places_are_found_as_a_whole_reading_finds_them(settings, topic):
    send(settings, topic, 450)
    transact(settings, topic, commit=True)
    transact(settings, topic, commit=False)
    send(settings, topic, 3)
    there = {(record.tp, record.offset): record for record in read_all(settings, [topic])}
    last = dict(sorted(there))
    # On a real broker markers of transactions, and what was called off, take offsets and are no records.
    assert settings.embedded or len(there) < sum(offset + 1 for offset in last.values())
    rng = random.Random(7)
    every = [(Partition(topic, partition), offset) for partition in (0, 1) for offset in range(600)]
    for count in (1, 3, 40, 1200):
        wanted = rng.sample(every, count)
        found = list(records_at(settings, [*wanted, *wanted[:2]]))
        assert len(found) == count
        assert dict(found) == {place: there.get(place) for place in wanted}


def test_what_never_was_is_not_waited_for(settings, topic):
    send(settings, topic, 1)
    nowhere = [(Partition(topic, 99), 0), (Partition("no-such-topic", 0), 5)]
    assert dict(records_at(settings, nowhere)) == dict.fromkeys(nowhere)
    assert list(records_at(settings, [])) == []


def test_what_has_aged_away_is_gone_and_what_came_later_is_not(settings, topic):
    send(settings, topic, 1)
    ((tp, _),) = {(record.tp, record.offset) for record in read_all(settings, [topic])}
    send(settings, topic, 8, bytes(900_000))
    if not settings.embedded:  # the embedded broker drops the oldest by itself, beyond five MiB
        admin = AdminClient({"bootstrap.servers": settings.bootstrap})
        (deleted,) = admin.delete_records([TopicPartition(*tp, 4)]).values()
        deleted.result(10)
    found = dict(records_at(settings, [(tp, 0), (tp, 8)]))
    assert found[tp, 0] is None
    assert found[tp, 8] is not None


def test_a_broker_that_is_away_is_said():
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1")
    with pytest.raises(BrokerUnavailable, match="topics cannot be listed"):
        list(records_at(nowhere, [(Partition("x", 0), 0)], timeout_s=0.3))


def test_a_broker_that_falls_silent_is_not_waited_for_for_ever(broker):
    settings = KafkaSettings(bootstrap=broker.bootstrap, embedded=True)
    broker.create_topic("x", 1)
    send(settings, "x", 1000)
    tp = Partition("x", 0)
    reading = records_at(settings, [(tp, 0), (tp, 990)], timeout_s=1.0)
    assert next(reading)[0] == (tp, 0)
    broker.down()
    with pytest.raises(BrokerUnavailable, match="nothing was heard of x"):
        list(reading)
