"""The committers: answers and the offsets they answer, published together.

`ExactlyOnce` does it in one Kafka transaction (KIP-98), fenced by the consumer's group metadata (KIP-447): for readers
with ``isolation.level=read_committed`` every record is answered once, whatever dies in between. `AtLeastOnce` sends and
commits afterwards: cheaper, and a crash in between repeats the answers.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from stream.errors import BrokerUnavailable, DeliveryFailed, TransactionLost, VeristreamError, WorkerFenced
from stream.kafka import KafkaProducer, explain, produce, producer_config
from stream.ports import Consumer
from stream.records import Outgoing, Partition
from stream.settings import KafkaSettings

log = logging.getLogger("veristream.kafka")

T = TypeVar("T")

_CALL_S = 5.0
_DEADLINE_S = 8.0
_TICK_S = 0.2
_BACKOFF_S = (0.05, 2.0)
_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_HOPELESS = frozenset({
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
})  # fmt: skip
_FENCED_LIMIT, _FENCED_WINDOW_S = 5, 60.0


class ExactlyOnce:
    """Commits answers and offsets in Kafka transactions; see `stream.ports.Committer`.

    Args:
        settings: How to reach Kafka.
        transactional_id: Stable over restarts and unique per worker: a restarted worker fences and clears up what its
            former life left open, instead of making readers wait for the transaction to time out.
        consumer: Whose offsets they are; used only with the embedded broker, which forgets offsets that were committed
            in a transaction, so that they are committed once more outside.
    """

    def __init__(self, settings: KafkaSettings, *, transactional_id: str, consumer: Consumer | None = None) -> None:
        self._settings = settings
        self._consumer = consumer if settings.embedded else None
        self._id = transactional_id
        self._producer: Producer | None = None
        self._closed = threading.Event()
        self._recoveries: deque[float] = deque(maxlen=_FENCED_LIMIT)

    def recover(self) -> None:
        """Opens a new producer under the same id, which completes or aborts what the last one left open."""
        now = time.monotonic()
        if len(self._recoveries) == _FENCED_LIMIT and now - self._recoveries[0] < _FENCED_WINDOW_S:
            raise WorkerFenced(
                f"transactional id {self._id} was taken over {_FENCED_LIMIT} times within a minute",
                where=self._settings.bootstrap,
                remedy="Two workers share VERISTREAM_WORKER__ID; give each its own",
            )
        self._recoveries.append(now)
        producer = Producer(self._config(), logger=log)
        self._settle("no transaction can be opened", lambda: producer.init_transactions(_CALL_S))
        self._producer = producer

    def commit(self, records: Sequence[Outgoing], offsets: Mapping[Partition, int], group: object) -> None:
        """Commits one transaction."""
        producer = self._producer
        if producer is None:
            raise TransactionLost("no transaction was opened yet", where=self._settings.bootstrap)
        self._within_deadline(lambda: self._transact(producer, records, offsets, group))
        if self._consumer is not None:
            self._consumer.commit(offsets)

    def close(self) -> None:
        """Ends any wait; the broker aborts what is open when the id is next used, or after the transaction timeout."""
        self._closed.set()

    def _within_deadline(self, work: Callable[[], None]) -> None:
        """Does the work in a thread that can be left behind.

        After an outage librdkafka may wait for ever for a coordinator that is no longer there, whatever time-out it was
        given (librdkafka issues 5456 and 5511). A new producer finds the new coordinator.
        """
        outcome: Future[None] = Future()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  raised again where the outcome is awaited
                outcome.set_exception(error)
            else:
                outcome.set_result(None)

        threading.Thread(target=run, name=f"transaction-{self._id}", daemon=True).start()
        give_up = time.monotonic() + _DEADLINE_S
        while not wait([outcome], _TICK_S).done:
            if self._closed.is_set() or time.monotonic() > give_up:
                self._producer = None
                what = f"transaction {self._id} was not answered within {_DEADLINE_S:g} s"
                raise TransactionLost(what, where=self._settings.bootstrap)
        outcome.result()

    def _transact(
        self, producer: Producer, records: Sequence[Outgoing], offsets: Mapping[Partition, int], group: object
    ) -> None:
        parts = [TopicPartition(tp.topic, tp.partition, offset) for tp, offset in offsets.items()]
        refused: list[KafkaError] = []
        try:
            producer.begin_transaction()
            for out in records:
                self._produce(producer, out, refused)
            self._settle("offsets", lambda: producer.send_offsets_to_transaction(parts, group, _CALL_S))
            self._settle("commit", lambda: producer.commit_transaction(_CALL_S))
        except KafkaException as error:
            self._give_up(producer, error.args[0], refused)

    def _config(self) -> dict[str, Any]:
        return producer_config(self._settings, self._id) | {
            "transactional.id": self._id,
            "transaction.timeout.ms": self._settings.transaction_timeout_ms,
            # The first request of a transaction is refused while the broker still finishes the last one. librdkafka
            # asks again after this back-off: with its default of 100 ms a broker does ten transactions a second.
            "retry.backoff.ms": 1,
            "linger.ms": 0,
            # A topic that does not exist is reported within our own deadline, not after half a minute.
            "topic.metadata.propagation.max.ms": 5000,
            # Must be below the transaction's time-out, else librdkafka refuses the settings.
            "message.timeout.ms": self._settings.transaction_timeout_ms,
        }

    def _produce(self, producer: Producer, out: Outgoing, refused: list[KafkaError]) -> None:
        def told(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                refused.append(error)

        while True:
            try:
                return produce(producer, out, told)
            except BufferError:
                producer.poll(0.05)

    def _settle(self, what: str, call: Callable[[], T]) -> T:
        """Repeats a call for as long as its failure is one that repeating may mend."""
        wait, longest = _BACKOFF_S
        while True:
            try:
                return call()
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                if fault.fatal() or fault.txn_requires_abort() or not _waitable(fault):
                    raise
                log.warning("transaction %s: %s waits: %s", self._id, what, fault.str())
                if self._closed.wait(wait):
                    raise explain(fault, f"stopped while {what} was waiting", self._settings.bootstrap) from error
                wait = min(2 * wait, longest)

    def _give_up(self, producer: Producer, fault: KafkaError, refused: Sequence[KafkaError]) -> None:
        """Aborts if the broker lets us; raises what the caller is to do next."""
        for why in (fault, *refused):
            if why.code() in _HOPELESS:
                what = f"transaction {self._id} holds a record that the broker refuses: {why.str()}"
                raise DeliveryFailed(what, where=self._settings.bootstrap, remedy="See `veristream topics list`")
        problem = explain(fault, f"transaction {self._id} was not committed", self._settings.bootstrap)
        if fault.txn_requires_abort():
            try:
                self._settle("abort", lambda: producer.abort_transaction(_CALL_S))
            except KafkaException as error:
                fault = error.args[0]
            else:
                raise BrokerUnavailable(problem.what, where=problem.where) from problem
        if fault.fatal() or fault.code() in _FENCED or fault.txn_requires_abort():
            self._producer = None
            raise TransactionLost(problem.what, where=problem.where) from problem
        raise problem


class AtLeastOnce:
    """Sends answers, waits for their acknowledgement, then commits offsets; see `stream.ports.Committer`."""

    def __init__(self, producer: KafkaProducer, consumer: Consumer) -> None:
        self._producer = producer
        self._consumer = consumer
        self._closed = threading.Event()

    def recover(self) -> None:
        """Nothing is ever left open."""

    def commit(self, records: Sequence[Outgoing], offsets: Mapping[Partition, int], group: object) -> None:
        """Sends, flushes and commits; a failure after the first record repeats records at the next call."""
        failures: list[VeristreamError] = []
        for out in records:
            self._producer.send(out, lambda error: failures.append(error) if error else None)
        while self._producer.flush(_CALL_S):
            if self._closed.is_set():
                raise DeliveryFailed("stopped while answers were not yet acknowledged", remedy="They will be repeated")
        if failures:
            raise BrokerUnavailable(f"{len(failures)} answers were not acknowledged") from failures[0]
        self._consumer.commit(offsets)

    def close(self) -> None:
        """Ends any wait and closes the producer."""
        self._closed.set()
        self._producer.close()


def _waitable(fault: KafkaError) -> bool:
    return fault.retriable() or fault.code() in (
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
    )
