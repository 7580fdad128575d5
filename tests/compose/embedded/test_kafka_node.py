"""A real Apache Kafka node, and what is said where there is none."""

import logging
import os
import shutil
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from compose.embedded import kafka_node as module
from compose.embedded.kafka_node import KafkaNode, kafka_home
from stream.errors import BrokerError, BrokerUnavailable, ConfigurationError

MIB = 1024 * 1024
QUIET = logging.getLogger("test.clients")


@pytest.fixture
def fake_home(tmp_path):
    """A distribution with a jar that holds no Kafka."""
    libs = tmp_path / "home" / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka_2.13-4.2.1.jar").touch()
    return libs.parent


def _fake_java(folder: Path, script: str, monkeypatch) -> None:
    java = folder / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o700)
    monkeypatch.setenv("JAVA_HOME", str(folder))


@pytest.mark.kafka
def test_a_crash_keeps_records_and_port(tmp_path):
    home = os.environ.get("KAFKA_HOME") or pytest.skip("KAFKA_HOME names no Apache Kafka 4 distribution")
    with KafkaNode(Path(home), tmp_path) as node:
        address = node.bootstrap
        node.create_topic("uploads", 2)
        producer = Producer({"bootstrap.servers": address, "message.max.bytes": 2 * MIB}, logger=QUIET)
        image = os.urandom(MIB + 10_000)
        outcome = []
        producer.produce("uploads", image, on_delivery=lambda error, _: outcome.append(error))
        assert producer.flush(60) == 0
        assert outcome == [None]
        node.kill()
        node.start()
        assert node.bootstrap == address
        settings = {"group.id": "g", "auto.offset.reset": "earliest"}
        consumer = Consumer({"bootstrap.servers": address, **settings}, logger=QUIET)
        consumer.subscribe(["uploads"])
        message = consumer.poll(60)
        assert message.error() is None
        assert message.value() == image
        consumer.close()
        node.stop()
    with KafkaNode(Path(home), tmp_path) as again:
        assert again.bootstrap == address
        assert "uploads" in Producer({"bootstrap.servers": address}, logger=QUIET).list_topics(timeout=60).topics


@pytest.mark.kafka
def test_topics_are_made_when_asked_for_and_not_by_themselves(kafka_node):
    name = f"t-{uuid.uuid4().hex}"
    producer = Producer({"bootstrap.servers": kafka_node.bootstrap}, logger=QUIET)
    assert producer.list_topics(name, timeout=60).topics[name].error is not None
    kafka_node.create_topic(name, 3)
    kafka_node.create_topic(name, 5)
    assert len(producer.list_topics(name, timeout=60).topics[name].partitions) == 3
    with pytest.raises(BrokerError, match="refused"):
        kafka_node.create_topic("no spaces please", 3)


def test_kafka_home_must_be_set(monkeypatch):
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    with pytest.raises(ConfigurationError, match="KAFKA_HOME is not set"):
        kafka_home()


def test_kafka_home_must_hold_a_kafka(monkeypatch, tmp_path, fake_home):
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no Apache Kafka"):
        kafka_home()
    monkeypatch.setenv("KAFKA_HOME", str(fake_home))
    assert kafka_home() == fake_home


def test_java_must_be_there(monkeypatch, tmp_path, fake_home):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigurationError, match="no java on PATH"):
        KafkaNode(fake_home, tmp_path / "data")


def test_an_old_java_is_named(monkeypatch, tmp_path, fake_home):
    _fake_java(tmp_path, "echo java.lang.UnsupportedClassVersionError: kafka/Kafka >&2; exit 1", monkeypatch)
    with pytest.raises(ConfigurationError, match="too old"):
        KafkaNode(fake_home, tmp_path / "data")


def test_a_format_that_fails_shows_why(monkeypatch, tmp_path, fake_home):
    _fake_java(tmp_path, "echo disk full >&2; exit 1", monkeypatch)
    with pytest.raises(BrokerUnavailable, match="could not format") as caught:
        KafkaNode(fake_home, tmp_path / "data")
    assert "disk full" in caught.value.remedy


def test_a_node_that_dies_shows_the_tail_of_its_log(monkeypatch, tmp_path, fake_home):
    data = tmp_path / "data"
    script = f"case \"$*\" in *StorageTool*) exit 0;; esac\necho address in use > '{data}/server.log'; exit 1"
    _fake_java(tmp_path, script, monkeypatch)
    with pytest.raises(BrokerUnavailable, match="before it was ready") as caught:
        KafkaNode(fake_home, data)
    assert "address in use" in caught.value.remedy


def test_a_port_that_listens_without_being_kafka_is_not_ready(monkeypatch, tmp_path, fake_home):
    monkeypatch.setattr(module, "_READY_S", 0.5)
    monkeypatch.setattr(module, "_PROBE_S", 0.1)
    server = "import socket,sys,time; s=socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
    script = (
        'case "$*" in *StorageTool*) exit 0;; esac\n'
        'for last; do :; done; port=$(sed -n "s/^advertised.*:\\([0-9]*\\)$/\\1/p" "$last")\n'
        f'exec python3 -c "{server}" "$port"'
    )
    _fake_java(tmp_path, script, monkeypatch)
    with pytest.raises(BrokerUnavailable, match="not ready within"):
        KafkaNode(fake_home, tmp_path / "data")
