import logging
import uuid

import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from compose.embedded.broker import Api
from stream import deadletter
from stream.errors import (
    BlobUnavailable,
    BrokerError,
    BrokerUnavailable,
    DeadLetterError,
    TruncatedImage,
    VeristreamError,
)
from stream.kafka import KafkaProducer
from stream.records import Outgoing, Record
from stream.replay import Done, Replayer, letters
from stream.settings import KafkaSettings
from stream.snapshot import read_all
from stream.transactions import ExactlyOnce


class Place:
    """A source topic and its dead letters on some broker."""

    def __init__(self, broker) -> None:
        self.settings = KafkaSettings(bootstrap=broker.bootstrap)
        self.source = f"source-{uuid.uuid4().hex[:8]}"
        self.dead = f"{self.source}.dlq"
        broker.create_topic(self.source, 2)
        broker.create_topic(self.dead, 2)

    def send(self, *records: Outgoing) -> None:
        producer = KafkaProducer(self.settings, client_id="test")
        for one in records:
            producer.send(one)
        producer.close()

    def letter(self, key: str, error: VeristreamError) -> Outgoing:
        record = Record(self.source, 0, 5, 0, key.encode(), b"\xff" + key.encode(), (("a", b"1"),))
        return deadletter.letter(record, error, stage="decode", attempts=1, model_digest=None, topic=self.dead)

    def die(self, *keys: str, error: VeristreamError | None = None) -> None:
        self.send(*(self.letter(key, error or TruncatedImage("broken")) for key in keys))

    def replay(self, wanted=lambda _: True, **options) -> list[str]:
        replayer = Replayer(self.settings, [self.dead])
        try:
            return sorted(found.record.key.decode() for found in replayer.run(wanted, **options))
        finally:
            replayer.close()

    def arrived(self) -> list[str]:
        return sorted(record.key.decode() for record in read_all(self.settings, [self.source]))


@pytest.fixture
def place(any_broker) -> Place:
    return Place(any_broker)


def test_letters_are_replayed_once_as_they_first_came(place):
    place.die("a", "b", "c")
    assert place.replay() == ["a", "b", "c"]
    assert place.replay() == []
    (record,) = (r for r in read_all(place.settings, [place.source]) if r.key == b"a")
    assert record.value == b"\xffa"
    assert record.headers == (("a", b"1"), ("dlq_replays", b"1"))
    place.die("d")
    assert place.replay() == ["d"]
    assert place.arrived() == ["a", "b", "c", "d"]
    assert place.replay(again=True) == ["a", "b", "c", "d"]
    assert place.arrived() == ["a", "a", "b", "b", "c", "c", "d", "d"]
    assert place.replay() == []


def test_a_filter_leaves_the_others_for_later(place):
    place.die("a1", "b1")
    place.die("a2", "b2", error=BlobUnavailable("away"))
    place.die("a3", "b3")
    assert place.replay(lambda letter: letter.error == "BlobUnavailable") == ["a2", "b2"]
    assert place.replay(lambda letter: letter.error == "BlobUnavailable") == []
    place.die("a4")
    assert place.replay() == ["a1", "a3", "a4", "b1", "b3"]
    assert place.replay() == []
    assert place.arrived() == ["a1", "a2", "a3", "a4", "b1", "b2", "b3"]


def test_a_dry_run_sends_and_remembers_nothing(place):
    place.die("a")
    assert place.replay(dry_run=True) == ["a"]
    assert place.arrived() == []
    assert place.replay() == ["a"]


@pytest.mark.kafka
def test_transaction_markers_between_letters_leave_no_gaps_to_remember(kafka_node):
    place = Place(kafka_node)
    committer = ExactlyOnce(place.settings, transactional_id=f"worker-{place.source}")
    committer.recover()
    replayer = Replayer(place.settings, [place.dead])
    group = replayer._consumer.consumer_group_metadata()
    for number in range(6):
        committer.commit([place.letter(f"k{number}", TruncatedImage("broken"))], {}, group)
    committer.close()
    assert len(list(replayer.run(lambda _: True))) == 6
    assert [done.to_text() for done in replayer._done.values()] == [""] * len(replayer._done)
    replayer.close()
    assert place.replay() == []


@pytest.mark.kafka
def test_who_comes_later_fences_the_earlier(kafka_node):
    place = Place(kafka_node)
    place.die("a")
    earlier = Replayer(place.settings, [place.dead])
    assert place.replay() == ["a"]
    with pytest.raises(BrokerError, match="letters were not replayed"):
        list(earlier.run(lambda _: True))
    earlier.close()
    assert place.arrived() == ["a"]


def test_a_transaction_that_fails_is_aborted_and_may_be_made_again(broker):
    place = Place(broker)
    place.die("a")
    broker.inject_errors(Api.TXN_OFFSET_COMMIT, KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(BrokerError, match="letters were not replayed"):
        place.replay()
    assert place.replay() == ["a"]
    assert place.replay() == []


def test_more_gaps_than_can_be_remembered_are_refused(broker):
    place = Place(broker)
    place.die(*(f"{number % 2}-{number:05}" for number in range(6000)))
    with pytest.raises(DeadLetterError, match="too many separate letters"):
        place.replay(lambda letter: letter.record.key.startswith(b"1"))
    first = set(place.arrived())
    rest = set(place.replay())
    assert not first & rest
    assert len(first | rest) == 6000


def test_what_is_no_letter_is_said_and_left_out(place, caplog):
    caplog.set_level(logging.WARNING, "veristream.kafka")
    place.send(Outgoing(place.dead, b"x", b"no letter"))
    place.die("a")
    assert [letter.record.key for letter in letters(place.settings, [place.dead])] == [b"a"]
    assert "no dead letter" in caplog.text
    assert list(letters(place.settings, ["no-such-topic"])) == []


def test_no_broker_is_said():
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1")
    with pytest.raises(BrokerUnavailable, match="topics cannot be listed"):
        list(read_all(nowhere, ["x"], timeout_s=0.3))


def test_a_broker_that_falls_silent_is_not_waited_for_for_ever(broker):
    place = Place(broker)
    place.die("a")
    reading = read_all(place.settings, [place.dead], timeout_s=1.0)
    assert next(reading).key == b"a"
    broker.down()
    with pytest.raises(BrokerUnavailable, match=r"nothing was heard of .*\.dlq"):
        list(reading)


@given(start=st.integers(0, 50), offsets=st.sets(st.integers(0, 300)))
def test_what_was_done_survives_as_text(start, offsets):
    done = Done(start, {start + offset for offset in offsets})
    back = Done.from_text(start, done.to_text())
    assert back == done
    assert all(offset in back for offset in range(start))
