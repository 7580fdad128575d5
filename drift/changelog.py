"""Makes the topic behind the roll-ups, where that is possible."""

import logging

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from drift.rollups import changelog
from stream.kafka import client_config, explain, is_mock_cluster
from stream.settings import Settings

_log = logging.getLogger("veristream.drift")

_ANSWER_S = 10.0


def ensure_changelog(settings: Settings) -> bool:
    """Makes the changelog unless it is there; returns whether it can be used.

    It cannot where its partitions are not those of ``verdicts``, and it cannot be made on the embedded broker, which
    must be given it beforehand (`drift.rollups.changelog` says what). Then there are no roll-ups, and a warning.

    Raises:
        BrokerError: The broker does not answer, or refuses.
    """
    name, verdicts = changelog(settings)
    kafka = settings.kafka
    admin = AdminClient(client_config(kafka, "veristream-drift-topics"), logger=_log)
    try:
        metadata = admin.list_topics(timeout=_ANSWER_S)
        wanted = metadata.topics.get(verdicts.name)
        if wanted is None or not wanted.partitions:
            _log.warning("there is no topic %s: no verdict shares", verdicts.name)
            return False
        found = metadata.topics.get(name)
        if found is None and is_mock_cluster(metadata):
            _log.warning("the embedded broker was not given %s: no verdict shares", name)
            return False
        if found is None:
            config = {"cleanup.policy": "compact"}
            asked = NewTopic(name, len(wanted.partitions), settings.topics.replication, config=config)
            admin.create_topics([asked], request_timeout=_ANSWER_S)[name].result()
            return True
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return True
        raise explain(error.args[0], f"{name} cannot be made", kafka.bootstrap) from error
    if len(found.partitions) != len(wanted.partitions):
        facts = (name, len(found.partitions), verdicts.name, len(wanted.partitions))
        _log.warning("%s has %d partitions and %s has %d: no verdict shares", *facts)
        return False
    return True
