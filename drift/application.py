"""The Faust application: reads embeddings, verdicts and labels, and keeps verdict shares in a table.

Faust commits a record's offset some time after its agent has moved on to the next. What must not be lost longer than
that has bookmarks of its own (`drift.service`). An agent never raises for what a record holds: whatever it calls counts
and dead-letters what it cannot use.

One instance is supported. A second one of the same group would take half of the partitions, and each would judge
windows of its own half.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from faust.types.events import EventT
from faust.types.streams import StreamT
from faust.web import Request, Response, View

from drift.rollups import TABLE, Rollups, group
from drift.transport import addresses, credentials, use
from stream.records import Record
from stream.settings import Settings
from stream.topics import Plain, layout

_log = logging.getLogger("veristream.drift")

Take = Callable[[Record], Awaitable[None]]

_BUFFERED = 1024


class _App(faust.App):
    def _create_directories(self) -> None:
        """Makes none: the table lies in memory, and the working directory may not be writable."""


class Application:
    """Faust, set up and ready to be started.

    Args:
        settings: Where Kafka is, what topics are called.
        takes: By topic, what is called with each of its records, in order within a partition; it is awaited before the
            next one, which is how reading is held back.
        counted: Whether the table's changelog can be used; otherwise there are no roll-ups.
    """

    def __init__(self, settings: Settings, takes: dict[Plain, Take], *, counted: bool) -> None:
        kafka, drift = settings.kafka, settings.drift
        self._names = layout(settings.topics)
        self.app = _App(
            group(settings),
            broker=addresses(kafka),
            broker_credentials=credentials(kafka),
            broker_session_timeout=kafka.session_timeout_ms / 1000,
            broker_heartbeat_interval=min(1.0, kafka.session_timeout_ms / 3000),
            # The embedded broker stamps batches of transactions without computing their checksum again.
            broker_check_crcs=not kafka.embedded,
            consumer_auto_offset_reset="earliest",
            key_serializer="raw",
            value_serializer="raw",
            store="memory://",
            stream_buffer_maxsize=_BUFFERED,
            stream_wait_empty=False,
            # Topics are made by `veristream topics ensure`; the embedded broker cannot make them.
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=settings.topics.partitions,
            web_enabled=drift.port > 0,
            web_bind=settings.telemetry.metrics_host,
            web_host=settings.telemetry.metrics_host,
            web_port=drift.port or 1,
        )
        use(self.app)
        self.rollups = self._rollups(settings) if counted else None
        for plain, take in takes.items():
            self._agent(plain, take)
        self.app.page("/rollups/", name="rollups")(_page(self))

    async def start(self) -> None:
        """Connects, joins the group, reads the table back and begins to read."""
        await self.app.start()

    @property
    def failure(self) -> BaseException | None:
        """What ended Faust by itself, such as a consumer that cannot go on; None while it runs."""
        reason: BaseException | None = self.app.crash_reason if self.app.crashed else None
        return reason

    async def stop(self) -> None:
        """Commits and leaves the group."""
        await self.app.stop()

    def _agent(self, plain: Plain, take: Take) -> None:
        topic = self.app.topic(
            self._names[plain].name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

        async def read(stream: StreamT[bytes]) -> None:
            async for event in stream.events():
                await take(_record(event))

        self.app.agent(topic, name=f"veristream.drift.{plain}")(read)

    def _rollups(self, settings: Settings) -> Rollups:
        table = self.app.Table(
            TABLE,
            default=dict,
            partitions=self._names["verdicts"].partitions,
        )
        return Rollups(table, settings.drift.hours)


def _record(event: EventT[Any]) -> Record:
    message = event.message
    # Typed as text or bytes by Faust; from aiokafka these are pairs of text and bytes.
    headers: Any = message.headers or ()
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int((message.timestamp or 0.0) * 1000),
        key=message.key,
        value=message.value,
        headers=tuple((name, value or b"") for name, value in headers),
    )


def _page(application: Application) -> type[View]:
    class RollupsView(View):
        """Verdict shares by model, tenant and hour."""

        async def get(self, request: Request) -> Response:
            rollups = application.rollups
            return self.json({"shares": [share.as_json() for share in rollups.shares()] if rollups else []})

    return RollupsView
