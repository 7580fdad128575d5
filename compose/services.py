"""What a session stands on: a broker (embedded, one real node, or somebody's own), Redis, a blob folder, and topics.

Everything is private to the session and gone with it. On a broker that is not the session's own, topics get a prefix of
their own and are deleted at the end, so simulated uploads never reach a platform's real topics.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from compose.embedded.broker import EmbeddedBroker
from compose.embedded.kafka_node import KafkaNode, kafka_home
from compose.embedded.redis_server import RedisServer, redis_executable
from compose.interrupts import held
from drift.rollups import changelog
from stream.errors import ConfigurationError
from stream.kafka import client_config, log
from stream.settings import Settings
from stream.topics import State, ensure, layout

EMBEDDED, KAFKA = "embedded", "kafka"
_DELETE_S = 3.0
_EMBEDDED_SESSION_MS = 3000


@dataclass(frozen=True, slots=True)
class Services:
    """Running services.

    Attributes:
        settings: Point at them.
        broker: Which broker, in words.
        limits: What this broker cannot do, in words; empty if nothing is missing.
        redis: Whether there is one.
        blob_folder: Where claim checks point.
    """

    settings: Settings
    broker: str
    limits: str
    redis: bool
    blob_folder: Path


@contextlib.contextmanager
def open_services(broker: str, settings: Settings, folder: Path) -> Iterator[Services]:
    """Starts what is needed and stops it afterwards.

    Args:
        broker: ``embedded``, ``kafka`` (one node from KAFKA_HOME) or ``HOST:PORT`` of one that runs.
        settings: What these services do not decide stays as it is.
        folder: For their files; the caller removes it.

    Raises:
        ConfigurationError: No such broker, no KAFKA_HOME, or a broker on which topics cannot be created.
        BrokerUnavailable: It does not answer.
    """
    blobs = folder / "blobs"
    blobs.mkdir()
    with ExitStack() as stack:
        redis = _redis(stack)
        settings = settings.model_copy(
            update={
                "blobs": settings.blobs.model_copy(update={"store": blobs.as_uri()}),
                "redis": settings.redis.model_copy(
                    update={"enabled": redis is not None, "url": SecretStr(redis.url if redis else "")}
                ),
            }
        )
        if broker == EMBEDDED:
            embedded = stack.enter_context(EmbeddedBroker())
            settings = _at(settings, embedded.bootstrap, embedded=True)
            for topic in layout(settings.topics).values():
                embedded.create_topic(topic.name, topic.partitions)
            # What a real broker lets the drift monitor make for itself.
            behind_rollups, verdicts = changelog(settings)
            embedded.create_topic(behind_rollups, verdicts.partitions)
            name = f"embedded broker {embedded.bootstrap}"
            limits = "broker in memory, 5 MiB a partition, oldest dropped; it does not isolate transactions"
        elif broker == KAFKA:
            node = KafkaNode(kafka_home(), folder / "kafka")
            # Its data are thrown away with the folder, so nothing is gained by waiting for a clean stop.
            stack.callback(node.kill)
            settings = _at(settings, node.bootstrap)
            ensure(settings)
            name, limits = f"Apache Kafka {node.bootstrap}", "one Kafka node, one replica"
        elif ":" in broker:
            settings = _at(settings, broker, prefix=f"veristream-session-{uuid4().hex[:8]}.")
            _make_topics(settings)
            stack.callback(_delete_topics, settings)
            name = f"Kafka at {broker}"
            limits = f"topics {settings.topics.prefix}* until the end"
        else:
            remedy = f"Use {EMBEDDED}, {KAFKA} (one node from KAFKA_HOME) or HOST:PORT"
            raise ConfigurationError(f"there is no broker {broker!r}", where="--broker", remedy=remedy)
        yield Services(settings, name, limits, redis is not None, blobs)


def _redis(stack: ExitStack) -> RedisServer | None:
    try:
        redis_executable()
    except ConfigurationError as missing:
        log.warning("no verdict cache: %s", missing)
        return None
    with held():
        return stack.enter_context(RedisServer())


def _at(settings: Settings, bootstrap: str, *, prefix: str | None = None, embedded: bool = False) -> Settings:
    topics = settings.topics if prefix is None else settings.topics.model_copy(update={"prefix": prefix})
    kafka = settings.kafka.model_copy(update={"bootstrap": bootstrap, "embedded": embedded})
    if embedded:
        # It knows no static members: a killed worker's partitions come back only when its session has timed out.
        kafka = kafka.model_copy(update={"session_timeout_ms": _EMBEDDED_SESSION_MS})
    return settings.model_copy(update={"kafka": kafka, "topics": topics})


def _make_topics(settings: Settings) -> None:
    absent = [report for report in ensure(settings) if report.state is State.MISSING]
    if absent:
        what = f"{len(absent)} topics are missing and cannot be created"
        raise ConfigurationError(what, where=settings.kafka.bootstrap, remedy="; ".join(absent[0].remarks))


def _delete_topics(settings: Settings) -> None:
    admin = AdminClient(client_config(settings.kafka, "veristream-session"), logger=log)
    known = admin.list_topics(timeout=_DELETE_S).topics
    # Whatever lies under the session's prefix, such as the topic behind the drift monitor's table.
    names = [name for name in known if name.startswith(settings.topics.prefix)]
    answers = admin.delete_topics(names, operation_timeout=_DELETE_S, request_timeout=_DELETE_S)
    done, late = wait(answers.values(), timeout=_DELETE_S)
    failed = len(late) + sum(future.exception() is not None for future in done)
    if failed:
        log.warning("%d of the session's topics %s* could not be deleted", failed, settings.topics.prefix)
