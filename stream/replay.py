"""Sending dead letters back to where they came from, each of them once.

What was replayed is remembered by the consumer group ``veristream-dlq-replay``: its committed offset is the first
letter that was not, and the offset's metadata lists later ones that were, since a person may replay only letters of
one error class. Letters, offsets and metadata are committed in one Kafka transaction, so nothing is sent twice even
when two people replay at once or the command is killed: the later one fences the earlier.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from stream import deadletter
from stream.deadletter import DeadLetter
from stream.errors import DeadLetterError, MalformedEvent
from stream.kafka import consumer_config, explain, is_mock_cluster, log, partitions, produce, producer_config
from stream.records import Partition
from stream.settings import KafkaSettings
from stream.snapshot import read_all

T = TypeVar("T")

GROUP = "veristream-dlq-replay"
# Letters a transaction; at the largest size of a letter they still fit the producer's queue.
_CHUNK = 64
_ANSWER_S = 10.0
# Kafka's own default limit of an offset's metadata is 4096 bytes.
_LONGEST = 4000


@dataclass(slots=True)
class Done:
    """Which letters of one partition were replayed.

    Attributes:
        next: Every letter below this offset was.
        beyond: Offsets above it that were as well.
    """

    next: int = 0
    beyond: set[int] = field(default_factory=set)

    def __contains__(self, offset: int) -> bool:
        return offset < self.next or offset in self.beyond

    def to_text(self) -> str:
        """``beyond`` as ranges relative to ``next``, such as ``2-5,9``."""
        ranges: list[list[int]] = []
        for offset in sorted(self.beyond):
            if ranges and ranges[-1][1] == offset - 1:
                ranges[-1][1] = offset
            else:
                ranges.append([offset, offset])
        relative = [(first - self.next, last - self.next) for first, last in ranges]
        return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in relative)

    @classmethod
    def from_text(cls, following: int, text: str) -> "Done":
        """Reads what `to_text` wrote."""
        beyond: set[int] = set()
        for piece in filter(None, text.split(",")):
            first, _, last = piece.partition("-")
            beyond.update(range(following + int(first), following + int(last or first) + 1))
        return cls(following, beyond)


def letters(
    settings: KafkaSettings, topics: Sequence[str], *, after: Mapping[Partition, int] | None = None
) -> Iterator[DeadLetter]:
    """Yields the letters on these dead-letter topics, ``after`` given offsets; what is no letter is only logged."""
    for record in read_all(settings, topics, after=after):
        try:
            yield deadletter.read(record)
        except MalformedEvent as error:
            log.warning("left out: %s", error)


class Replayer:
    """Replays letters of some dead-letter topics.

    Args:
        settings: How to reach Kafka.
        topics: The dead-letter topics.

    Raises:
        BrokerError: No broker answers, or it refuses.
    """

    def __init__(self, settings: KafkaSettings, topics: Sequence[str]) -> None:
        self._settings = settings
        self._topics = topics
        self._consumer = Consumer(consumer_config(settings, group=GROUP, client_id=GROUP), logger=log)
        config = producer_config(settings, GROUP) | {
            "transactional.id": GROUP,
            "transaction.timeout.ms": settings.transaction_timeout_ms,
            "message.timeout.ms": settings.transaction_timeout_ms,
        }
        self._producer = Producer(config, logger=log)
        self._guard("replaying cannot begin", lambda: self._producer.init_transactions(_ANSWER_S))
        # Read only now: whoever replayed before us is fenced, so what they committed is final.
        self._done = self._read_done()
        self._left: dict[Partition, int] = {}
        self._seen: dict[Partition, int] = {}

    def run(
        self, wanted: Callable[[DeadLetter], bool], *, again: bool = False, dry_run: bool = False
    ) -> Iterator[DeadLetter]:
        """Replays and yields every wanted letter that was not replayed yet.

        Args:
            wanted: Chooses letters.
            again: Replays those that were replayed before as well.
            dry_run: Yields what would be replayed and sends nothing.

        Raises:
            BrokerError: The transaction in hand failed; what was yielded before stays replayed.
            DeadLetterError: Too many gaps to remember; replay in fewer pieces.
        """
        after = {} if again else {tp: done.next for tp, done in self._done.items()}
        found = letters(self._settings, self._topics, after=after)
        chosen = (letter for letter in found if self._choose(letter, wanted=wanted(letter), again=again))
        while chunk := list(islice(chosen, _CHUNK)):
            if not dry_run:
                self._send(chunk)
            yield from chunk

    def close(self) -> None:
        """Closes the connections."""
        self._consumer.close()

    def _choose(self, letter: DeadLetter, *, wanted: bool, again: bool) -> bool:
        tp, offset = letter.record.tp, letter.record.offset
        done = offset in self._done.setdefault(tp, Done())
        chosen = wanted and (again or not done)
        if not (chosen or done):
            self._left.setdefault(tp, offset)
        self._seen[tp] = offset + 1
        return chosen

    def _send(self, chunk: Sequence[DeadLetter]) -> None:
        for letter in chunk:
            self._done[letter.record.tp].beyond.add(letter.record.offset)
        parts = [self._offset(tp) for tp in sorted({letter.record.tp for letter in chunk})]
        self._guard("letters were not replayed", lambda: self._transact(chunk, parts))

    def _transact(self, chunk: Sequence[DeadLetter], parts: list[TopicPartition]) -> None:
        self._producer.begin_transaction()
        try:
            for letter in chunk:
                produce(self._producer, deadletter.replay(letter))
            self._producer.send_offsets_to_transaction(parts, self._consumer.consumer_group_metadata(), _ANSWER_S)
            self._producer.commit_transaction(_ANSWER_S)
            if self._forgets:
                self._consumer.commit(offsets=parts, asynchronous=False)
        except KafkaException as error:
            # Readers of the original topic wait at an open transaction.
            if error.args[0].txn_requires_abort():
                self._producer.abort_transaction(_ANSWER_S)
            raise

    def _offset(self, tp: Partition) -> TopicPartition:
        """Everything below the first letter left out is done, offsets of transaction markers included."""
        done = self._done[tp]
        done.next = max(done.next, min(self._left.get(tp, self._seen[tp]), self._seen[tp]))
        done.beyond = {offset for offset in done.beyond if offset >= done.next}
        text = done.to_text()
        if len(text) > _LONGEST:
            raise DeadLetterError(
                "too many separate letters were replayed to remember each",
                where=f"{tp.topic}[{tp.partition}]",
                remedy="Replay without a filter, so that no gaps are left",
            )
        return TopicPartition(tp.topic, tp.partition, done.next, text)

    def _read_done(self) -> dict[Partition, Done]:
        metadata = self._guard("topics cannot be listed", lambda: self._consumer.list_topics(timeout=_ANSWER_S))
        self._forgets = is_mock_cluster(metadata)
        parts = [TopicPartition(*tp) for tp in partitions(metadata, self._topics)]
        if not parts:
            return {}
        what = "what was replayed before cannot be read"
        committed = self._guard(what, lambda: self._consumer.committed(parts, timeout=_ANSWER_S))
        return {
            Partition(part.topic, part.partition): Done.from_text(part.offset, part.metadata or "")
            for part in committed
            if part.offset >= 0
        }

    def _guard(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except KafkaException as error:
            raise explain(error.args[0], what, self._settings.bootstrap) from error
