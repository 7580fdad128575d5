"""Following a topic without a group: from its beginning, from a time, or from offsets that the reader keeps."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream.kafka import client_config, explain, log, record
from stream.records import Partition, Record
from stream.settings import KafkaSettings

_ANSWER_S = 1.0
_LOOK_AGAIN_S = 2.0
_TOGETHER = 100


class KafkaTail:
    """Every record of one topic in order, then whatever comes. Commits nothing; for one thread.

    A topic that is not there yet counts as empty and is looked for again; a broker that is away is waited for. Offsets
    that retention has overtaken mean: from the oldest that is left.

    Args:
        settings: How to reach Kafka.
        topic: What to read.
        client_id: Name in the broker's logs.
        since: Begin with the records of this time, seconds since the epoch, where the broker can find it; with the
            first there are otherwise. The embedded broker cannot.
        starts: Where to begin in the partitions that are named here; not beside ``since``.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        client_id: str,
        since: float | None = None,
        starts: Mapping[Partition, int] | None = None,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._since = None if settings.embedded else since
        self._given = starts or {}
        config: dict[str, Any] = client_config(settings, client_id) | {
            # librdkafka wants a name even where no group is joined and nothing is committed.
            "group.id": f"{client_id}-tail",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
        }
        self._consumer = Consumer(config, logger=log)
        self._ahead: set[int] | None = None
        self._look_at = 0.0
        self._missing = False

    @property
    def caught_up(self) -> bool:
        """Whether everything that was in the topic when it was found has been returned by `poll`."""
        return self._missing or (self._ahead is not None and not self._ahead)

    def poll(self, timeout_s: float) -> list[Record]:
        """Returns what is ready, waiting at most about ``timeout_s``, or a second for a broker that is away.

        Raises:
            BrokerError: A failure that waiting does not mend.
        """
        if self._ahead is None and not self._attach():
            time.sleep(timeout_s)
            return []
        messages = self._consumer.consume(_TOGETHER, 0) or self._consumer.consume(1, timeout_s)
        return [record(message) for message in messages if not self._is_event(message)]

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()

    def _attach(self) -> bool:
        if time.monotonic() < self._look_at:
            return False
        try:
            found = self._consumer.list_topics(self._topic, timeout=_ANSWER_S).topics[self._topic]
        except KafkaException as error:
            problem = explain(error.args[0], f"{self._topic} cannot be looked up", self._settings.bootstrap)
            if not problem.retryable:
                raise problem from error
            return False
        self._missing = not found.partitions
        if self._missing:
            self._look_at = time.monotonic() + _LOOK_AGAIN_S
            return False
        starts = self._starts(list(found.partitions))
        if starts is None:
            return False
        self._ahead = set(found.partitions)
        self._consumer.assign(starts)
        return True

    def _starts(self, numbers: list[int]) -> list[TopicPartition] | None:
        if self._since is None:
            places = (Partition(self._topic, number) for number in numbers)
            return [TopicPartition(*tp, self._given.get(tp, OFFSET_BEGINNING)) for tp in places]
        asked = [TopicPartition(self._topic, number, int(self._since * 1000)) for number in numbers]
        try:
            return self._consumer.offsets_for_times(asked, timeout=_ANSWER_S)
        except KafkaException as error:
            problem = explain(error.args[0], f"offsets of {self._topic} cannot be found", self._settings.bootstrap)
            if not problem.retryable:
                raise problem from error
            return None

    def _is_event(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:
            if self._ahead:
                self._ahead.discard(message.partition() or 0)
            return True
        problem = explain(error, f"reading {self._topic}", self._settings.bootstrap)
        if error.fatal() or not problem.retryable:
            raise problem
        return True
