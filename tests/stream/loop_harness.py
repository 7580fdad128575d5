"""A worker for loop tests: answers every record in a thread of its own, in random order."""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from stream.errors import VeristreamError
from stream.loop import ConsumeLoop
from stream.ports import Committer, Consumer
from stream.records import Outgoing, Partition, Record
from stream.settings import WorkerSettings
from stream.telemetry.metrics import Metrics

SETTINGS = WorkerSettings(id="test", commit_interval_ms=0, stop_timeout_s=30, max_in_flight=32)


class Echo:
    """Answers ``in`` with ``out``; runs in the background until the block is left."""

    def __init__(
        self,
        consumer: Consumer,
        committer: Committer,
        settings: WorkerSettings = SETTINGS,
        *,
        backfill: Sequence[str] = (),
        before: Callable[[Record], None] = lambda record: None,
        topics: Sequence[str] = ("in",),
        out: str = "out",
    ) -> None:
        self.metrics = Metrics()
        self.loop = ConsumeLoop(consumer, committer, self, self.metrics, settings, topics=topics, backfill=backfill)
        self.accepted: list[Record] = []
        self.forgotten: list[Partition] = []
        self._out = out
        self._before = before
        self._stop = threading.Event()
        self._work = ThreadPoolExecutor(4)
        self._runner = ThreadPoolExecutor(1)

    def accept(self, records: Sequence[Record]) -> None:
        self.accepted += records
        for record in random.sample(list(records), len(records)):
            self._work.submit(self._answer, record)

    def forget(self, partitions: Sequence[Partition]) -> None:
        self.forgotten += partitions

    def _answer(self, record: Record) -> None:
        try:
            self._before(record)
        except VeristreamError as error:
            self.loop.fail(error)
        else:
            self.loop.complete(record, [Outgoing(self._out, record.key, record.value)])

    def count(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(metric, labels) or 0.0

    def __enter__(self) -> Self:
        self.running = self._runner.submit(self.loop.run, self._stop)
        return self

    def stop(self) -> None:
        """Asks for the end and waits for it; raises what `run` raised."""
        self._stop.set()
        self.running.result(60)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._runner.shutdown()
        self._work.shutdown()
