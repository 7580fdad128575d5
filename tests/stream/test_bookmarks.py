import uuid

import pytest

from stream.bookmarks import Bookmark, Bookmarks
from stream.kafka import KafkaProducer
from stream.records import Outgoing, Partition
from stream.settings import KafkaSettings
from stream.snapshot import newest


@pytest.fixture
def topic(any_broker):
    name = f"bookmarks-{uuid.uuid4().hex[:8]}"
    any_broker.create_topic(name, 2)
    return name


def at(broker) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


def test_bookmarks_outlive_their_keeper(any_broker, topic):
    first = Bookmarks(at(any_broker), f"{topic}-group")
    assert first.read([topic, "no-such-topic"]) == {}
    first.keep({Partition(topic, 1): Bookmark(5, 9)})
    first.keep({Partition(topic, 1): Bookmark(7, 12), Partition(topic, 0): Bookmark(0, 0)})
    first.close()
    second = Bookmarks(at(any_broker), f"{topic}-group")
    assert second.read([topic]) == {Partition(topic, 1): Bookmark(7, 12), Partition(topic, 0): Bookmark(0, 0)}
    second.close()


def test_the_newest_records_are_found(any_broker, topic):
    producer = KafkaProducer(at(any_broker), client_id="t")
    for number in range(10):
        producer.send(Outgoing(topic, b"same key", str(number).encode()))
    producer.close()
    last = list(newest(at(any_broker), topic, 3))
    assert [record.value for record in last] == [b"7", b"8", b"9"]
