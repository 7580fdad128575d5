"""A tail that begins at a time, where the broker can find one."""

import time
from uuid import uuid4

import pytest

from compose.embedded.broker import EmbeddedBroker
from stream.kafka import KafkaProducer
from stream.records import Outgoing
from stream.settings import KafkaSettings
from stream.tail import KafkaTail


@pytest.fixture
def settings(any_broker) -> KafkaSettings:
    return KafkaSettings(bootstrap=any_broker.bootstrap, embedded=isinstance(any_broker, EmbeddedBroker))


def send(settings: KafkaSettings, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(settings, client_id="test")
    for value in values:
        producer.send(Outgoing(topic, value, value))
    producer.close()


def test_a_tail_begins_at_its_time_or_at_the_beginning(any_broker, settings, eventually):
    topic = f"tail-{uuid4().hex[:8]}"
    any_broker.create_topic(topic, 2)
    send(settings, topic, b"old")
    since = time.time() + 0.05
    eventually(lambda: time.time() > since)
    send(settings, topic, b"new", b"newer", b"newest")
    found: set[bytes | None] = set()
    tail = KafkaTail(settings, topic, client_id="test", since=since)
    eventually(lambda: found.update(record.value for record in tail.poll(0.05)) or tail.caught_up)
    assert found == {b"new", b"newer", b"newest"} | ({b"old"} if settings.embedded else set())
    send(settings, topic, b"last")
    eventually(lambda: found.update(record.value for record in tail.poll(0.05)) or b"last" in found)
    tail.close()
    nothing_yet = KafkaTail(settings, topic, client_id="test", since=time.time() + 3600)
    eventually(lambda: nothing_yet.poll(0.05) or nothing_yet.caught_up)
    nothing_yet.close()
