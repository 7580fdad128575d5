import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from stream.errors import BrokerError, BrokerUnavailable
from stream.settings import KafkaSettings, Settings, TopicSettings
from stream.topics import State, dead_letters, ensure, layout


def settings(bootstrap: str, **topics) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap=bootstrap), topics=TopicSettings(**topics))


def test_the_layout_has_every_topic_of_the_contract_under_its_prefix():
    topics = layout(TopicSettings(prefix="eu."))
    assert set(topics) == {
        "uploads", "uploads.backfill", "verdicts", "verdicts.shadow", "embeddings",
        "feedback", "drift", "models", "retrain", "truth",
        "uploads.dlq", "uploads.backfill.dlq", "embeddings.dlq", "feedback.dlq",
    }  # fmt: skip
    assert all(topic.name == f"eu.{plain}" for plain, topic in topics.items())


def test_topics_that_are_joined_by_upload_id_have_equally_many_partitions():
    topics = layout(TopicSettings(partitions=12))
    keyed = {topic.partitions for topic in topics.values() if topic.key == "upload id"}
    assert keyed == {12}
    assert topics["models"].partitions == 1
    assert topics["models"].config["cleanup.policy"] == "compact"


def test_a_dead_letter_topic_has_room_for_the_letter_and_outlasts_its_source():
    topics = layout(TopicSettings())
    for plain in ("uploads", "uploads.backfill", "embeddings"):
        source, dead = topics[plain], topics[dead_letters(plain)]
        assert dead.max_message_bytes > source.max_message_bytes
        assert dead.retention_ms > source.retention_ms


@pytest.mark.kafka
def test_ensure_creates_what_is_missing_and_alters_nothing(kafka_node):
    wanted = settings(kafka_node.bootstrap, prefix="ensure.", partitions=3)
    topics = layout(wanted.topics)
    kafka_node.create_topic("ensure.verdicts", 2)
    first = {report.topic: report for report in ensure(wanted)}
    assert {report.state for name, report in first.items() if name != "ensure.verdicts"} == {State.CREATED}
    differing = first["ensure.verdicts"]
    assert differing.state is State.DIFFERS
    assert "2 partitions instead of 3" in differing.remarks
    assert any(remark.startswith("retention.ms is 604800000 instead of") for remark in differing.remarks)
    second = {report.topic: report for report in ensure(wanted)}
    assert second["ensure.verdicts"] == differing
    assert {report.state for name, report in second.items() if name != "ensure.verdicts"} == {State.EXISTS}
    admin = AdminClient({"bootstrap.servers": kafka_node.bootstrap})
    (future,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, "ensure.models")]).values()
    entries = future.result()
    assert {name: entries[name].value for name in topics["models"].config} == topics["models"].config


@pytest.mark.kafka
def test_what_the_broker_refuses_is_said_with_the_topic(kafka_node):
    with pytest.raises(BrokerError, match=r"topic \S+ was not created: .*[Rr]eplication"):
        ensure(settings(kafka_node.bootstrap, prefix="refused.", replication=9))


def test_a_broker_that_cannot_create_topics_says_so(broker):
    wanted = settings(broker.bootstrap, partitions=3)
    broker.create_topic("uploads", 3)
    broker.create_topic("verdicts", 4)
    reports = {report.topic: report for report in ensure(wanted)}
    assert list(reports) == [topic.name for topic in layout(wanted.topics).values()]
    assert reports["uploads"].state is State.EXISTS
    assert reports["verdicts"].state is State.DIFFERS
    assert reports["verdicts"].remarks[0] == "4 partitions instead of 3"
    assert reports["models"].state is State.MISSING
    assert "cannot create topics" in reports["models"].remarks[0]


def test_no_broker_is_said_with_its_address():
    with pytest.raises(BrokerUnavailable, match=r"topics cannot be listed.*127.0.0.1:1"):
        ensure(settings("127.0.0.1:1"), timeout_s=0.5)
