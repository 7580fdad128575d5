"""Keeps the ledger up with its topics: reads verdicts and labels from where the ledger stands, in no group.

The ledger holds the offsets itself, stored together with what was read, so a crash repeats nothing and loses nothing; a
ledger that was deleted is made again from the topics' beginnings.
"""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from retrain.ledger import Ledger
from stream.errors import ContractError
from stream.kafka import consumer_config, explain, log, record
from stream.records import Partition, Record
from stream.settings import KafkaSettings

_ANSWER_S = 1.0
_LOOK_AGAIN_S = 2.0
_TOGETHER = 1000


class Intake:
    """Reads `verdicts` and `feedback` into a ledger. For one thread.

    A topic that is not there yet counts as empty and is looked for again; a broker that is away is waited for. Offsets
    that retention has overtaken mean: from the oldest that is left.

    Args:
        settings: How to reach Kafka.
        ledger: Where to.
        topics: Their names on the broker.
        client_id: Name in the broker's logs.
    """

    def __init__(self, settings: KafkaSettings, ledger: Ledger, topics: tuple[str, ...], *, client_id: str) -> None:
        self._settings = settings
        self._ledger = ledger
        self._missing = set(topics)
        config: dict[str, Any] = consumer_config(settings, group=f"{client_id}-intake", client_id=client_id) | {
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
        self._consumer = Consumer(config, logger=log)
        self._ahead: set[Partition] = set()
        self._looked = False
        self._look_at = 0.0

    @property
    def caught_up(self) -> bool:
        """Whether everything that was in the topics when they were found is in the ledger."""
        return self._looked and not self._ahead

    def poll(self, timeout_s: float) -> list[tuple[Record, ContractError]]:
        """Takes in what is ready, waiting at most about ``timeout_s``, or a second for a broker that is away.

        Returns:
            Records that are neither verdict nor label, for the dead-letter topic; the ledger's offsets have passed
            them.

        Raises:
            BrokerError: A failure that waiting does not mend.
        """
        if self._missing and time.monotonic() >= self._look_at:
            self._look()
        messages = self._consumer.consume(_TOGETHER, 0) or self._consumer.consume(1, timeout_s)
        records = [record(message) for message in messages if not self._is_event(message)]
        return self._ledger.take(records) if records else []

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()

    def _look(self) -> None:
        self._look_at = time.monotonic() + _LOOK_AGAIN_S
        try:
            known = self._consumer.list_topics(timeout=_ANSWER_S).topics
        except KafkaException as error:
            problem = explain(error.args[0], "topics cannot be listed", self._settings.bootstrap)
            if not problem.retryable:
                raise problem from error
            return
        self._looked = True
        found = [
            Partition(topic, number) for topic in self._missing if topic in known for number in known[topic].partitions
        ]
        if not found:
            return
        self._missing -= {tp.topic for tp in found}
        self._ahead.update(found)
        starts = self._ledger.positions()
        self._consumer.incremental_assign([TopicPartition(*tp, starts.get(tp, OFFSET_BEGINNING)) for tp in found])

    def _is_event(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:
            self._ahead.discard(Partition(message.topic() or "", message.partition() or 0))
            return True
        problem = explain(error, f"reading {message.topic()}", self._settings.bootstrap)
        if error.fatal() or not problem.retryable:
            raise problem
        return True
