"""The consume–process–produce loop: polls for ever, hands records on, commits their answers.

Two threads: the caller's polls, balances the flow and answers rebalances; one of the loop's own commits. Work happens
elsewhere: whoever accepted a record answers it with `complete`, from any thread, in any order.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol

from stream.errors import BrokerUnavailable, TransactionLost, VeristreamError
from stream.flow import FlowControl
from stream.inflight import Ledger
from stream.ports import Committer, Consumer
from stream.records import Outgoing, Partition, Record
from stream.settings import WorkerSettings

log = logging.getLogger("veristream.loop")

_IDLE_S = 0.05
_FULL_S = 0.005
_LAG_S = 0.25
_FETCH = 64
_BACKOFF_S = 0.5


class Handler(Protocol):
    """Who does the work."""

    def accept(self, records: Sequence[Record]) -> None:
        """Takes records over; called in the polling thread, so it must return at once."""
        ...

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Partitions went to another worker; work still queued for them may be dropped."""
        ...


class Meter(Protocol):
    """Who counts; see `stream.telemetry`."""

    def flow(self, *, records: int, size: int, lag: int, paused: bool) -> None:
        """Tells what is in flight, how many records wait, and whether fetching is paused."""
        ...

    def committed(self, *, records: int, seconds: float) -> None:
        """Tells of a commit."""
        ...

    def aborted(self) -> None:
        """Tells of a commit that failed and will be tried again."""
        ...


class ConsumeLoop:
    """Reads topics as a group member and commits answers through a committer.

    Delivery: a record's answers and its offset are committed together by the committer, in order within a partition;
    whether that is exactly once or at least once is the committer's choice. Nothing that was accepted is skipped.

    Args:
        consumer: Group member to read with.
        committer: How answers and offsets are published.
        handler: Who does the work.
        meter: Who counts.
        settings: Bounds in flight, commit pace and stop time-out.
        topics: Topics to read.
        backfill: Topics to read only while `topics` have no lag.
    """

    def __init__(
        self,
        consumer: Consumer,
        committer: Committer,
        handler: Handler,
        meter: Meter,
        settings: WorkerSettings,
        *,
        topics: Sequence[str],
        backfill: Sequence[str] = (),
    ) -> None:
        self._consumer = consumer
        self._committer = committer
        self._handler = handler
        self._meter = meter
        self._settings = settings
        self._topics = (*topics, *backfill)
        self._ledger = Ledger()
        self._flow = FlowControl(consumer, settings.max_in_flight, settings.max_in_flight_bytes, frozenset(backfill))
        self._committing = threading.Lock()
        self._recovered = threading.Event()
        self._finished = threading.Event()
        self._failed = threading.Event()
        self._failure: VeristreamError | None = None
        self._lost = threading.Event()
        self._lag = 0
        self._lag_due = 0.0

    def complete(self, record: Record, outputs: Sequence[Outgoing]) -> None:
        """Answers an accepted record; an answer to a partition that has gone to another worker is dropped."""
        self._ledger.complete(record, outputs)

    def fail(self, error: VeristreamError) -> None:
        """Stops the loop with an error: `run` raises it, and what is unanswered stays in the topic."""
        if not self._failed.is_set():
            self._failure = error
            self._failed.set()

    def run(self, stop: threading.Event) -> None:
        """Works until ``stop`` is set, then finishes what is in flight, commits it and leaves the group.

        Raises:
            VeristreamError: What `fail` was called with, or what the consumer or the committer could not mend.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="commit") as executor:
            commits = executor.submit(self._commit_until_finished)
            try:
                while not (self._recovered.wait(_IDLE_S) or stop.is_set() or commits.done()):
                    pass
                if self._recovered.is_set():
                    self._consumer.subscribe(self._topics, on_assign=self._flow.assign, on_revoke=self._revoked)
                while not (stop.is_set() or self._failed.is_set() or commits.done()):
                    self._turn()
                self._drain(commits)
            finally:
                self._finished.set()
                self._committer.close()
                wait([commits])
                self._consumer.close()
            if self._failure is not None:
                raise self._failure
            commits.result()

    def _turn(self) -> None:
        if self._lost.is_set():
            self._rewind()
        limit = self._flow.room(self._ledger.records, _FETCH)
        records = self._consumer.poll(limit, _FULL_S if self._flow.paused else _IDLE_S)
        if records:
            self._ledger.add(records)
            self._handler.accept(records)
        now = time.monotonic()
        if now >= self._lag_due:
            self._lag, self._lag_due = self._flow.lag(), now + _LAG_S
        in_flight, size = self._ledger.records, self._ledger.bytes
        self._flow.balance(in_flight, size, self._lag)
        self._meter.flow(records=in_flight, size=size, lag=self._lag, paused=self._flow.paused)

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        # A transaction in hand ends first: what it answers must not be answered again by the next owner.
        with self._committing:
            self._ledger.drop(partitions)
        self._flow.revoke(partitions)
        self._handler.forget(partitions)

    def _rewind(self) -> None:
        assigned = sorted(self._flow.assigned)
        self._consumer.rewind()
        self._ledger.drop(assigned)
        self._handler.forget(assigned)
        self._lost.clear()

    def _drain(self, commits: Future[None]) -> None:
        """Polls on, without taking anything new, until all that was accepted is committed."""
        deadline = time.monotonic() + self._settings.stop_timeout_s
        self._flow.hold()
        while self._ledger.records and not (self._failed.is_set() or self._lost.is_set() or commits.done()):
            if time.monotonic() > deadline:
                log.warning("stopped with %d records unanswered; they stay in the topic", self._ledger.records)
                return
            # Whatever still comes is not entered in the ledger, so it is neither answered nor committed.
            self._consumer.poll(1, _FULL_S)

    def _commit_until_finished(self) -> None:
        try:
            self._committer.recover()
            self._recovered.set()
            while not self._finished.is_set():
                self._commit_once()
        except (BrokerUnavailable, TransactionLost):
            # Raised by a wait that stopping ended; what was not committed stays in the topic.
            if not self._finished.is_set():
                raise

    def _commit_once(self) -> None:
        """Commits what is answered, or waits for an answer."""
        started = time.monotonic()
        try:
            with self._committing:
                release = self._ledger.release(self._settings.transaction_records)
                if release.records:
                    self._committer.commit(release.outputs, release.offsets, self._consumer.group_metadata())
                    self._ledger.confirm(release)
        except TransactionLost as error:
            self._meter.aborted()
            log.warning("reading on from the committed offsets: %s", error)
            self._committer.recover()
            self._lost.set()
            while self._lost.is_set() and not self._finished.wait(_FULL_S):
                pass
        except BrokerUnavailable as error:
            self._meter.aborted()
            log.warning("will commit again: %s", error)
            self._finished.wait(_BACKOFF_S)
        else:
            if release.records:
                seconds = time.monotonic() - started
                self._meter.committed(records=release.records, seconds=seconds)
                # Answers that come meanwhile share the next transaction.
                self._finished.wait(max(0.0, self._settings.commit_interval_ms / 1000 - seconds))
            else:
                self._ledger.wait(_IDLE_S)
