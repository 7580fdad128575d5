"""The drift service where Kafka asks who is there."""

import uuid
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from compose.embedded.processes import ChildProcess, veristream_command
from compose.variables import environment
from drift.rollups import changelog
from stream import deadletter
from stream.kafka import KafkaProducer
from stream.records import Outgoing
from stream.settings import KafkaSettings, Settings, TopicSettings
from stream.snapshot import read_all
from stream.topics import dead_letters, layout
from tests.conftest import LOGIN
from tests.drift.test_application import PARTITIONS, read_until

READY_S = 60.0
pytestmark = [pytest.mark.kafka, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def settings_at(node, mechanism: str, *, password: str = LOGIN[1]) -> Settings:
    kafka = KafkaSettings(
        bootstrap=node.sasl_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,
        sasl_username=LOGIN[0],
        sasl_password=SecretStr(password),
    )
    settings = Settings(
        kafka=kafka, topics=TopicSettings(prefix=f"sasl-{uuid.uuid4().hex[:8]}.", partitions=PARTITIONS)
    )
    name, verdicts = changelog(settings)
    for topic, partitions in [
        (name, verdicts.partitions),
        *((t.name, t.partitions) for t in layout(settings.topics).values()),
    ]:
        node.create_topic(topic, partitions)
    return settings


async def test_faust_reads_with_a_plain_password(kafka_node):
    settings = settings_at(kafka_node, "PLAIN")
    producer = KafkaProducer(settings.kafka, client_id="test")
    producer.send(Outgoing(layout(settings.topics)["verdicts"].name, b"key", b"the last"))
    producer.close()
    assert [record.value for record in (await read_until(settings, b"the last")).records] == [b"the last"]


@pytest.fixture
def processes(kafka_node, tmp_path) -> Iterator[tuple[Settings, ChildProcess, ChildProcess]]:
    """Settings, the service with them, and one that has another password; neither was started."""
    settings = settings_at(kafka_node, "SCRAM-SHA-512")
    kafka = settings.kafka.model_copy(update={"sasl_password": SecretStr("wrong")})
    stranger = settings.model_copy(update={"kafka": kafka})
    command = veristream_command("drift", "run")
    with (
        ChildProcess("drift", command, tmp_path, env=dict(environment(settings))) as service,
        ChildProcess("stranger", command, tmp_path, env=dict(environment(stranger))) as refused,
    ):
        yield settings, service, refused


def test_the_service_reads_after_scram_and_ends_with_a_wrong_password(processes, eventually):
    settings, service, refused = processes
    refused.start()
    service.start()
    service.wait_for_line('"event": "ready"', READY_S)
    embeddings = layout(settings.topics)["embeddings"].name
    producer = KafkaProducer(settings.kafka, client_id="test")
    producer.send(Outgoing(embeddings, b"key", b"no embedding"))
    producer.close()
    eventually(lambda: list(read_all(settings.kafka, [dead_letters(embeddings)])))
    letters = [deadletter.read(record).error for record in read_all(settings.kafka, [dead_letters(embeddings)])]
    assert set(letters) == {"MalformedEvent"}
    assert service.terminate(60) == 0

    assert refused.wait(60) == 1
    said = refused.tail()
    assert "invalid credentials" in said
    assert "user name and password" in said
