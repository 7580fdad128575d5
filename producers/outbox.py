"""Records on their way to Kafka, by name, so that none can fail without being told of."""

import itertools
import threading
import time
from collections.abc import Mapping

from stream.errors import DeliveryFailed, VeristreamError
from stream.ports import Delivered, Producer
from stream.records import Outgoing

_NAMED = 10


class Outbox:
    """Sends records and remembers which were not acknowledged; safe to share between threads.

    Args:
        producer: Where records go.
        noun: What a record is called in messages, such as ``upload``.
    """

    def __init__(self, producer: Producer, noun: str) -> None:
        self._producer = producer
        self._noun = noun
        self._changed = threading.Condition()
        self._tickets = itertools.count()
        self._waiting: dict[int, str] = {}
        self._failed: dict[str, VeristreamError] = {}
        self._undelivered: Mapping[str, VeristreamError] = {}

    def send(self, record: Outgoing, name: str, on_delivery: Delivered | None = None) -> None:
        """Queues a record.

        Args:
            record: What to send.
            name: How `flush` names it.
            on_delivery: Gets None or the error, on the producer's thread; whoever gives it answers for the outcome, and
                `flush` waits for the record but does not tell of its failure.

        Raises:
            VeristreamError: Nothing was queued.
        """
        ticket = next(self._tickets)

        def settle(error: VeristreamError | None) -> None:
            if on_delivery is not None:
                on_delivery(error)
            with self._changed:
                self._waiting.pop(ticket)
                if error is not None and on_delivery is None:
                    self._failed[name] = error
                self._changed.notify_all()

        with self._changed:
            self._waiting[ticket] = name
        try:
            self._producer.send(record, settle)
        except VeristreamError:
            with self._changed:
                self._waiting.pop(ticket)
            raise

    def flush(self, timeout_s: float) -> None:
        """Waits until everything sent is acknowledged.

        Raises:
            DeliveryFailed: Names the records that failed since the last call or are still without an answer.
        """
        deadline = time.monotonic() + timeout_s
        self._producer.flush(timeout_s)
        with self._changed:
            # Kafka may have answered while the last callbacks still run on the producer's thread.
            self._changed.wait_for(lambda: not self._waiting, max(0.0, deadline - time.monotonic()))
            late = DeliveryFailed(f"no acknowledgement within {timeout_s:g} s")
            self._undelivered = {**self._failed, **dict.fromkeys(self._waiting.values(), late)}
            self._failed = {}
        if self._undelivered:
            raise self._told(self._undelivered)

    def close(self, timeout_s: float) -> None:
        """Flushes and closes the producer.

        Raises:
            DeliveryFailed: As in `flush`; the producer is closed all the same.
        """
        try:
            self.flush(timeout_s)
        except DeliveryFailed as failure:
            try:
                self._producer.close()
            except DeliveryFailed as closing:
                failure.add_note(str(closing))
            raise
        self._producer.close()

    @property
    def undelivered(self) -> Mapping[str, VeristreamError]:
        """What the last `flush` found undelivered, by name, each with its error."""
        return self._undelivered

    def _told(self, errors: Mapping[str, VeristreamError]) -> DeliveryFailed:
        named = ", ".join(itertools.islice(errors, _NAMED))
        more = f" and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
        reason = next(iter(errors.values()))
        what = f"{len(errors)} {self._noun}{'s' if len(errors) > 1 else ''} not delivered: {named}{more} ({reason})"
        return DeliveryFailed(what, remedy="Send again under the same id")
