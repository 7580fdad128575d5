"""The embedded broker: the real protocol, and what can be done to it."""

import logging
import subprocess
import sys
import time
import uuid

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from compose.embedded import broker as broker_module
from compose.embedded import librdkafka
from compose.embedded.broker import Api, EmbeddedBroker
from stream.errors import BrokerError, BrokerUnavailable, ConfigurationError

QUIET = logging.getLogger("test.clients")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


def _producer(broker, **settings):
    return Producer({"bootstrap.servers": broker.bootstrap, **settings}, logger=QUIET)


def _send(producer, topic, value=b"v", timeout=10.0):
    """Sends one record; returns its delivery error."""
    outcome = []
    producer.produce(topic, value, on_delivery=lambda error, _: outcome.append(error))
    producer.flush(timeout)
    return outcome[0] if outcome else "pending"


def _read(broker, topic, count, **settings):
    settings = {"group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest", **settings}
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, **settings}, logger=QUIET)
    consumer.subscribe([topic])
    give_up = time.monotonic() + 60
    values = []
    while len(values) < count and time.monotonic() < give_up:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            values.append(message.value())
    consumer.close()
    return values


def test_a_topic_has_the_partitions_asked_for(broker):
    broker.create_topic("uploads", 16)
    broker.create_topic("uploads", 3)
    assert len(_producer(broker).list_topics("uploads").topics["uploads"].partitions) == 16


@pytest.mark.parametrize("partitions", [0, -1, 1001])
def test_a_topic_of_none_or_too_many_partitions_is_refused(broker, partitions):
    with pytest.raises(ConfigurationError, match=f"{partitions} partitions"):
        broker.create_topic("uploads", partitions)


def test_what_the_cluster_refuses_is_an_error_in_words(broker, monkeypatch):
    monkeypatch.setattr(librdkafka.MockCluster, "set_down", lambda _: KafkaError.BROKER_NOT_AVAILABLE)
    with pytest.raises(BrokerError, match=r"not be taken down: .*not available"):
        broker.down()


def test_another_process_sees_the_same_records(broker):
    broker.create_topic("uploads", 1)
    program = (
        "import sys; from confluent_kafka import Producer\n"
        "p = Producer({'bootstrap.servers': sys.argv[1]}); p.produce('uploads', b'from afar')\n"
        "sys.exit(p.flush(60))"
    )
    subprocess.run([sys.executable, "-c", program, broker.bootstrap], check=True, timeout=60)
    assert _read(broker, "uploads", 1) == [b"from afar"]


def _abort_then_commit(broker, topic):
    broker.create_topic(topic, 1)
    producer = _producer(broker, **{"transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(60)
    producer.abort_transaction(10)
    producer.begin_transaction()
    producer.produce(topic, b"committed")
    producer.commit_transaction(10)


def test_an_aborted_record_stays_visible_as_the_docstring_warns(broker):
    _abort_then_commit(broker, "verdicts")
    assert _read(broker, "verdicts", 2, **{"isolation.level": "read_committed"}) == [b"aborted", b"committed"]


@pytest.mark.kafka
def test_an_aborted_record_on_a_real_kafka_is_not_visible(kafka_node):
    topic = f"verdicts-{uuid.uuid4().hex}"
    _abort_then_commit(kafka_node, topic)
    assert _read(kafka_node, topic, 1, **{"isolation.level": "read_committed"}) == [b"committed"]


def _commit_after_another_took_over(broker, topic):
    broker.create_topic(topic, 1)
    first = _producer(broker, **{"transactional.id": topic})
    first.init_transactions(30)
    first.begin_transaction()
    second = _producer(broker, **{"transactional.id": topic})
    second.init_transactions(30)
    first.produce(topic, b"late")
    first.commit_transaction(10)


def test_a_producer_that_was_taken_over_still_commits_as_the_docstring_warns(broker):
    _commit_after_another_took_over(broker, "verdicts")
    assert _read(broker, "verdicts", 1) == [b"late"]


@pytest.mark.kafka
def test_a_producer_that_was_taken_over_is_fenced_on_a_real_kafka(kafka_node):
    with pytest.raises(KafkaException) as caught:
        _commit_after_another_took_over(kafka_node, f"verdicts-{uuid.uuid4().hex}")
    assert caught.value.args[0].fatal()


def test_two_brokers_know_nothing_of_each_other(broker, embedded_broker):
    assert broker.bootstrap != embedded_broker.bootstrap
    broker.create_topic("only-here", 2)
    assert "only-here" not in _producer(embedded_broker).list_topics().topics


def test_down_refuses_and_up_serves_again_with_what_was_there(broker):
    broker.create_topic("uploads", 1)
    producer = _producer(broker)
    assert _send(producer, "uploads", b"before") is None
    broker.down()
    with pytest.raises(KafkaException):
        _producer(broker).list_topics(timeout=0.5)
    broker.up()
    assert _send(producer, "uploads", b"after") is None
    assert _read(broker, "uploads", 2) == [b"before", b"after"]


def test_latency_delays_every_answer_until_it_is_taken_away(broker):
    broker.create_topic("uploads", 1)
    producer = _producer(broker)
    assert _send(producer, "uploads") is None
    broker.latency(2_000)
    producer.produce("uploads", b"slow")
    assert producer.flush(0.3) == 1
    broker.latency(0)
    assert producer.flush(60) == 0


def test_an_injected_error_reaches_the_client_once(broker):
    broker.create_topic("uploads", 1)
    producer = _producer(broker)
    broker.inject_errors(Api.PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    assert _send(producer, "uploads").code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert _send(producer, "uploads") is None


def test_injected_errors_can_be_taken_back(broker):
    broker.create_topic("uploads", 1)
    broker.inject_errors(Api.PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.MSG_SIZE_TOO_LARGE)
    broker.inject_errors(Api.PRODUCE)
    assert _send(_producer(broker), "uploads") is None


def test_a_closed_broker_says_so():
    with EmbeddedBroker() as broker:
        pass
    broker.close()
    with pytest.raises(BrokerUnavailable, match="closed"):
        broker.down()


def test_the_library_is_found_beside_the_client_where_there_is_no_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(librdkafka, "_MAPS", tmp_path / "maps")
    with EmbeddedBroker() as broker:
        broker.create_topic("uploads", 7)
        assert len(_producer(broker).list_topics("uploads").topics["uploads"].partitions) == 7


def test_without_the_mock_functions_a_plain_broker_serves_but_cannot_be_steered(monkeypatch):
    monkeypatch.setitem(librdkafka._SIGNATURES, "rd_kafka_mock_of_a_later_release", (None, []))
    with pytest.raises(ConfigurationError, match="mock cluster"):
        librdkafka.load()
    with EmbeddedBroker() as broker:
        broker.create_topic("uploads", 1)
        assert _send(_producer(broker), "uploads") is None
        with pytest.raises(ConfigurationError, match="cannot steer"):
            broker.down()


def test_a_plain_broker_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setitem(librdkafka._SIGNATURES, "rd_kafka_mock_of_a_later_release", (None, []))
    monkeypatch.setattr(broker_module, "_ANSWER_S", 1e-6)
    with pytest.raises(BrokerUnavailable, match="does not answer"):
        EmbeddedBroker()
