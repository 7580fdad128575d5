import threading

import pytest

from producers.traffic.evaluation import Evaluation
from producers.traffic.reader import EvaluationReader, fresh_consumer
from stream import messages
from stream.doubles import ManualClock, MemoryBroker, MemoryConsumer
from stream.errors import BrokerUnavailable
from stream.kafka import KafkaProducer
from stream.records import Outgoing
from stream.settings import KafkaSettings
from tests.producers.traffic.events import START, truth, verdict


def truth_record(event):
    return messages.encode(event, topic="truth", key=event.upload_id, source="test", time=START)


def verdict_record(event):
    return messages.encode(event, topic="verdicts", key=event.upload_id, source="test", time=START)


def reader_of(consumer, evaluation, *, live=False, clock=None):
    return EvaluationReader(
        consumer, evaluation, truths="truth", verdicts="verdicts", live=live, clock=clock or ManualClock()
    )


def test_both_topics_are_joined_and_what_cannot_be_read_is_counted():
    memory, evaluation = MemoryBroker(), Evaluation()
    memory.append([
        verdict_record(verdict("1")),
        truth_record(truth("1")),
        truth_record(truth("2", "ai_generated")),
        Outgoing("verdicts", b"x", b"not an event"),
    ])  # fmt: skip
    reader = reader_of(MemoryConsumer(memory, "grade"), evaluation)
    reader.read_to_end(idle_s=0.05)
    report = evaluation.report()
    assert (report["joined"], report["lost"], reader.unreadable) == (1, 1, 1)
    assert not memory.committed("grade")
    reader.close()


def test_a_live_reader_measures_to_where_it_reads():
    memory, evaluation = MemoryBroker(), Evaluation()
    clock = ManualClock(START.timestamp() + 2.5)
    reader = reader_of(MemoryConsumer(memory, "grade"), evaluation, live=True, clock=clock)
    memory.append([truth_record(truth("1")), verdict_record(verdict("1", latency_ms=80.0))])
    reader.read_to_end(idle_s=0.05)
    assert evaluation.report()["latency_ms"]["max"] == pytest.approx(2500)


def test_reading_stops_when_told_and_shows_progress():
    stop, calls = threading.Event(), []

    def show():
        calls.append(1)
        stop.set()

    reader = reader_of(MemoryConsumer(MemoryBroker(), "grade"), Evaluation())
    reader.read_to_end(idle_s=float("inf"), stop=stop, on_read=show)
    assert calls == [1]


def test_a_group_that_gives_no_partitions_is_told():
    memory = MemoryBroker()
    memory.away = True
    reader = reader_of(MemoryConsumer(memory, "grade"), Evaluation())
    with pytest.raises(BrokerUnavailable, match="no partitions"):
        reader.read_to_end(idle_s=5.0, join_s=0.2)


def test_over_the_embedded_broker_from_the_beginning(broker):
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    for topic in ("truth", "verdicts"):
        broker.create_topic(topic, 3)
    producer = KafkaProducer(settings, client_id="test")
    for number in range(50):
        producer.send(truth_record(truth(str(number))))
        producer.send(verdict_record(verdict(str(number))))
    producer.close()
    evaluation = Evaluation()
    reader = reader_of(fresh_consumer(settings, from_beginning=True), evaluation)
    reader.read_to_end(idle_s=0.5)
    reader.close()
    report = evaluation.report()
    assert (report["joined"], report["lost"], report["duplicated"]) == (50, 0, 0)
