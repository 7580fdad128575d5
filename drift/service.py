"""The drift service: what `veristream drift run` runs.

    embeddings ─▶ Faust ─▶ Intake ─▶ Windows ─▶ queue ─▶ Monitor ─▶ reports ─▶ drift
                                                            └─▶ the process that runs Evidently

Faust's loop only sorts records into windows. Closed windows wait in a short queue for one thread that judges them,
makes pages and publishes; while the queue is full, reading pauses. A window's records are needed until its report is in
the topic; the oldest record needed is bookmarked (`stream.bookmarks`). After a restart everything from there on is read
back, and what an earlier life has reported does not count again, because reports say where their windows ended. A crash
between a report and the bookmark costs reading back a little more; nothing is lost, and nothing judged twice.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from drift.application import Application, Take
from drift.changelog import ensure_changelog
from drift.parts import Parts
from drift.refill import recall, refill
from drift.windows import Sighting, Window
from stream import messages
from stream.errors import ContractError, ProcessingFailed, VeristreamError
from stream.events import DriftReport, Verdict
from stream.records import Record
from stream.settings import Settings
from stream.telemetry import serve_metrics
from stream.topics import Plain

_log = logging.getLogger("veristream.drift")

_WAITING = 8
_TICK_S = 1.0
_LOOK_S = 0.1

T = TypeVar("T")


class Service:
    """Everything that one drift process does. Use it once.

    Args:
        settings: All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failure: BaseException | None = None
        self._ready = False

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        """Reads and judges until ``stop`` is set.

        Raises:
            ConfigurationError: A setting does not fit; nothing was started.
            BrokerError: Kafka fails in a way that waiting does not mend.
            DeadLetterLost: A dead letter was refused.
        """
        with ExitStack() as stack:
            self._parts = parts = Parts(self._settings, stack)
            server = serve_metrics(self._settings.telemetry, parts.metrics, lambda: self._ready)
            if server is not None:
                stack.enter_context(server)
            self._thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="monitor"))
            stack.callback(parts.evaluator.close)
            asyncio.run(self._main(stop, ready))
        if self._failure is not None:
            raise self._failure

    async def _main(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        parts = self._parts
        self._queue: asyncio.Queue[Window] = asyncio.Queue(_WAITING)
        await self._call(parts.evaluator.start)
        await self._call(parts.follow_models)
        counted = await self._call(partial(ensure_changelog, self._settings))
        backlog = await self._call(partial(refill, self._settings, parts.bookmarks, parts.intake))
        await self._call(partial(recall, self._settings, parts.facts, parts.labels))
        takes: dict[Plain, Take] = {
            "embeddings": self._guarded(self._embedding),
            "verdicts": self._guarded(self._verdict),
            "feedback": self._guarded(self._label),
        }
        self._application = Application(self._settings, takes, counted=counted)
        tasks = [asyncio.create_task(self._judge(backlog)), asyncio.create_task(self._tick())]
        await self._application.start()
        try:
            self._set_ready(True)
            ready()
            while not stop.is_set() and self._failure is None and not any(task.done() for task in tasks):
                await asyncio.sleep(_LOOK_S)
                self._failure = self._failure or self._application.failure
        finally:
            self._set_ready(False)
            parts.stopping.set()
            for task in tasks:
                task.cancel()
            await self._application.stop()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    self._failure = self._failure or outcome

    def _set_ready(self, ready: bool) -> None:
        self._ready = ready
        self._parts.metrics.ready(ready)

    async def _embedding(self, record: Record) -> None:
        for window in self._parts.intake.take(record, self._parts.clock.now()):
            await self._queue.put(window)

    async def _verdict(self, record: Record) -> None:
        parts = self._parts
        parts.metrics.read(record.topic)
        try:
            verdict = messages.decode(record, Verdict)
        except ContractError as error:
            # A worker's own words; there is no place for their dead letters, so the log keeps them.
            parts.metrics.rejected(record.topic, error)
            _log.error("a verdict cannot be read: %s", error)
            return
        parts.facts.remember(verdict)
        await self._publish(parts.labels.said(verdict))
        rollups = self._application.rollups
        if rollups is not None and not rollups.count(verdict, record.partition, record.offset):
            parts.metrics.repeated(record.topic)

    async def _label(self, record: Record) -> None:
        self._parts.metrics.read(record.topic)
        await self._publish(self._parts.labels.take(record))

    async def _publish(self, reports: list[DriftReport]) -> None:
        if reports:
            await self._call(partial(self._parts.publisher.publish, reports))

    def _guarded(self, take: Take) -> Take:
        """What nobody foresaw in a record costs that record; what Kafka refuses ends the service."""

        async def taken(record: Record) -> None:
            try:
                await take(record)
            except VeristreamError as error:
                self._failure = self._failure or error
                # Nothing more may be read, or this record would be committed with the next.
                await asyncio.Event().wait()
            except Exception as error:  # noqa: BLE001  told, counted and dead-lettered
                _log.exception("a record could not be taken in: %s", record.place)
                failed = ProcessingFailed(f"{type(error).__name__}: {error}", where=record.place)
                failed.__cause__ = error
                self._parts.publisher.reject(record, failed)

        return taken

    async def _judge(self, backlog: list[Window]) -> None:
        parts = self._parts
        for window in backlog:
            await self._judged(window)
        while True:
            window = await self._queue.get()
            await self._judged(window)
            parts.metrics.windows(filling=parts.windows.filling, waiting=self._queue.qsize())

    async def _judged(self, window: Window) -> None:
        parts = self._parts
        await self._call(partial(self._report, parts.intake.fresh(), window))
        parts.windows.reported(window)
        await self._bookmark()

    def _report(self, fresh: list[Sighting], window: Window | None) -> None:
        monitor = self._parts.monitor
        self._parts.publisher.publish(monitor.observe(fresh))
        if window is not None:
            self._parts.publisher.publish(monitor.judge(window))

    async def _tick(self) -> None:
        parts = self._parts
        while True:
            await asyncio.sleep(_TICK_S)
            await self._call(parts.follow_models)
            await self._call(partial(self._report, parts.intake.fresh(), None))
            for window in parts.windows.due(parts.clock.now()):
                await self._queue.put(window)
            parts.labels.tidy()
            if self._application.rollups is not None:
                parts.metrics.shares(self._application.rollups.latest(parts.now()))
            parts.metrics.windows(filling=parts.windows.filling, waiting=self._queue.qsize())
            await self._bookmark()

    async def _bookmark(self) -> None:
        marks = self._parts.windows.bookmarks(self._parts.baselines.oldest())
        await self._call(partial(self._parts.publisher.bookmark, marks))

    async def _call(self, step: Callable[[], T]) -> T:
        """Does something in the one thread for all that waits or computes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)
