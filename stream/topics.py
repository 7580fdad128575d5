"""The topics: what is on each, how it is kept and why, and how they come to be.

`ensure` creates what is missing and tells what differs. It never alters a topic: fewer days or another cleanup lose
records, and more partitions move keys away from where their history lies. That is for a person to decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]
from pydantic import BaseModel

from stream import deadletter
from stream.errors import BrokerUnavailable
from stream.events import DriftReport, Event, Label, RetrainStep, ShadowVerdict, SlotChange, Truth, Verdict
from stream.kafka import client_config, explain, is_mock_cluster, log
from stream.settings import KafkaSettings, Settings, TopicSettings

_DAY_MS = 24 * 60 * 60 * 1000
_FOR_EVER = -1
_MIB = 1024 * 1024
# What a letter's own headers may take beside the record.
_LETTER = 64 * 1024
_ANSWER_S = 10.0

Plain = Literal[
    "uploads", "uploads.backfill", "verdicts", "verdicts.shadow", "embeddings",
    "feedback", "drift", "models", "retrain", "truth",
    "uploads.dlq", "uploads.backfill.dlq", "embeddings.dlq", "feedback.dlq",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    Attributes:
        plain: Name without the prefix.
        name: Name on the broker.
        partitions: How many.
        cleanup: ``delete`` old records, or ``compact`` to the last of each key.
        retention_ms: How long records are kept, milliseconds; -1 for ever.
        max_message_bytes: Largest batch of records the broker takes, bytes.
        key: What the key is.
        description: What is on it.
        event: Class of its JSON events; None where the value is bytes.
    """

    plain: Plain
    name: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    max_message_bytes: int
    key: str
    description: str
    event: type[Event] | None = None

    @property
    def config(self) -> Mapping[str, str]:
        """The topic's settings by Kafka's own names."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
        }


def layout(settings: TopicSettings) -> dict[Plain, Topic]:
    """Every topic by its plain name."""

    def topic(
        plain: Plain,
        description: str,
        *,
        retention_ms: int,
        key: str = "upload id",
        event: type[Event] | None = None,
        partitions: int = settings.partitions,
        cleanup: Literal["delete", "compact"] = "delete",
        max_message_bytes: int = _MIB,
    ) -> Topic:
        name = settings.prefix + plain
        return Topic(plain, name, partitions, cleanup, retention_ms, max_message_bytes, key, description, event)

    # Topics keyed by upload id have equally many partitions, so that a join finds both sides in one place.
    topics = [
        # A verdict that comes a day late helps nobody, and pictures are the bulk of all bytes.
        topic("uploads", "Pictures as they are uploaded, inline or as claim checks", retention_ms=_DAY_MS),
        # A backfill may be queued before a weekend and worked off after it.
        topic("uploads.backfill", "Older pictures, read while `uploads` has no lag", retention_ms=3 * _DAY_MS),
        # Read by the rollout within minutes; a day lets a person look at what a trial was worth.
        topic(
            "verdicts.shadow", "What a model on trial would have said", retention_ms=_DAY_MS, event=ShadowVerdict
        ),
        # Long enough for a subscriber to be rebuilt from the beginning of a billing month.
        topic("verdicts", "One verdict per upload", retention_ms=31 * _DAY_MS, event=Verdict),
        # Drift is judged over days; a week lets a report be computed again.
        topic("embeddings", "What the models saw, as little-endian float16", retention_ms=7 * _DAY_MS),
        # The audit log of human decisions is also the training set: it is never deleted.
        topic("feedback", "Labels by moderators, appeals and golden sets", retention_ms=_FOR_EVER, event=Label),
        # A quarter shows the seasons of a platform's traffic.
        topic(
            "drift", "Drift reports", retention_ms=92 * _DAY_MS, event=DriftReport, key="report id", partitions=1
        ),
        # Compacted: whoever starts reads the present slots from the topic itself.
        topic(
            "models", "Which model is in which slot", retention_ms=_FOR_EVER, event=SlotChange, key="slot",
            partitions=1, cleanup="compact",
        ),
        # A few records a week, asked for whenever somebody wants to know where a model came from.
        topic(
            "retrain", "Steps of retraining jobs", retention_ms=_FOR_EVER, event=RetrainStep, key="job id", partitions=1
        ),
        # As long as the embeddings it is compared with.
        topic("truth", "What the traffic generator made; no worker reads it", retention_ms=7 * _DAY_MS, event=Truth),
    ]  # fmt: skip
    sources: tuple[tuple[Plain, Plain], ...] = (
        ("uploads", "uploads.dlq"),
        ("uploads.backfill", "uploads.backfill.dlq"),
        ("embeddings", "embeddings.dlq"),
        ("feedback", "feedback.dlq"),
    )
    found: dict[Plain, Topic] = {known.plain: known for known in topics}
    for source, plain in sources:
        # Two weeks outlast a holiday of the person on call; the limit leaves room for the letter's headers.
        description = f"Dead letters of `{source}`: the original bytes, and why"
        room = found[source].max_message_bytes + _LETTER
        found[plain] = topic(plain, description, retention_ms=14 * _DAY_MS, max_message_bytes=room)
    return found


def dead_letters(topic: str) -> str:
    """Name of the topic that takes another topic's dead letters."""
    return topic + deadletter.SUFFIX


class State(StrEnum):
    """How `ensure` found a topic."""

    CREATED = "created"
    EXISTS = "exists"
    DIFFERS = "differs"
    MISSING = "missing"


class Report(BaseModel):
    """What `ensure` has to say of one topic.

    Attributes:
        topic: Name on the broker.
        state: How it was found.
        remarks: What differs, what could not be done or looked at, and what to do about it.
    """

    topic: str
    state: State
    remarks: tuple[str, ...] = ()


def ensure(settings: Settings, *, timeout_s: float = _ANSWER_S) -> list[Report]:
    """Creates the topics that are missing and compares the others; alters none.

    Raises:
        BrokerUnavailable: No broker answers.
        BrokerError: The broker refuses to describe or to create topics, such as for want of rights.
    """
    wanted = list(layout(settings.topics).values())
    admin = AdminClient(client_config(settings.kafka, "veristream-topics"), logger=log)
    try:
        metadata = admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise explain(error.args[0], "topics cannot be listed", settings.kafka.bootstrap) from error
    existing = {name: len(found.partitions) for name, found in metadata.topics.items()}
    missing = [topic for topic in wanted if topic.name not in existing]
    present = [topic for topic in wanted if topic.name in existing]
    if is_mock_cluster(metadata):
        unsaid = ("this broker does not tell a topic's settings",)
        reports = [_report(topic, existing[topic.name], None, unsaid) for topic in present]
        remark = "this broker cannot create topics; create it where the broker is started"
        reports += [Report(topic=topic.name, state=State.MISSING, remarks=(remark,)) for topic in missing]
    else:
        reports = _compare(admin, present, existing, settings.kafka, timeout_s)
        reports += _create(admin, missing, settings, timeout_s)
    order = [topic.name for topic in wanted]
    return sorted(reports, key=lambda report: order.index(report.topic))


def _create(admin: AdminClient, topics: Sequence[Topic], settings: Settings, timeout_s: float) -> list[Report]:
    if not topics:
        return []
    new = [
        NewTopic(topic.name, topic.partitions, settings.topics.replication, config=dict(topic.config))
        for topic in topics
    ]
    reports = []
    for name, future in admin.create_topics(new, request_timeout=timeout_s, operation_timeout=timeout_s).items():
        try:
            future.result()
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            if fault.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise explain(fault, f"topic {name} was not created", settings.kafka.bootstrap) from error
            remark = "somebody else created it meanwhile; look again"
            reports.append(Report(topic=name, state=State.DIFFERS, remarks=(remark,)))
        else:
            reports.append(Report(topic=name, state=State.CREATED))
    return reports


def _compare(
    admin: AdminClient,
    topics: Sequence[Topic],
    partitions: Mapping[str, int],
    settings: KafkaSettings,
    timeout_s: float,
) -> list[Report]:
    if not topics:
        return []
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in topics]
    futures = admin.describe_configs(resources, request_timeout=timeout_s)
    by_name = {resource.name: future for resource, future in futures.items()}
    reports = []
    for topic in topics:
        try:
            entries = by_name[topic.name].result()
        except KafkaException as error:
            problem = explain(error.args[0], f"{topic.name} cannot be described", settings.bootstrap)
            if isinstance(problem, BrokerUnavailable):
                raise problem from error
            reports.append(_report(topic, partitions[topic.name], None, (str(problem),)))
        else:
            found = {name: str(entries[name].value) for name in topic.config if name in entries}
            reports.append(_report(topic, partitions[topic.name], found))
    return reports


def _report(topic: Topic, partitions: int, found: Mapping[str, str] | None, remarks: tuple[str, ...] = ()) -> Report:
    differences = []
    if partitions != topic.partitions:
        differences.append(f"{partitions} partitions instead of {topic.partitions}")
    differences += [
        f"{name} is {found[name]} instead of {value}"
        for name, value in topic.config.items()
        if found is not None and found.get(name, value) != value
    ]
    state = State.DIFFERS if differences else State.EXISTS
    return Report(topic=topic.name, state=state, remarks=(*differences, *remarks))
