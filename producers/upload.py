"""The upload SDK: hand pictures to Veristream, synchronously or with asyncio.

Ten lines are enough::

    from pathlib import Path
    from producers.upload import UploadProducer

    with UploadProducer.connect() as uploads:  # reads VERISTREAM_KAFKA__BOOTSTRAP and friends
        for path in Path("pictures").glob("*.jpg"):
            upload_id = uploads.send(path, uploader="account-17")
            print(path, "is upload", upload_id)
    # Leaving the block waits for Kafka's acknowledgements and raises DeliveryFailed with the ids that got none.

Delivery: the client is idempotent and retries inside Kafka's delivery timeout; an upload counts as delivered when all
in-sync replicas have it. After a `DeliveryFailed` send again under the same ``upload_id``: whoever reads by id sees one
upload, although the topic may then hold two records.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Literal, Self, Unpack

from producers.outbox import Outbox
from producers.packing import About, Content, Packer
from stream import uploads
from stream.blobs import open_store
from stream.errors import DeliveryFailed, VeristreamError
from stream.kafka import KafkaProducer
from stream.ports import Producer
from stream.records import Outgoing
from stream.settings import Settings, load
from stream.topics import layout
from stream.uploads import Upload

Destination = Literal["uploads", "uploads.backfill"]
"""What is fresh, and what can wait; names without the prefix of the settings."""


class UploadProducer:
    """Sends uploads; safe to share between threads.

    Args:
        producer: Where records go; `connect` builds the real one.
        packer: How content becomes an event.
        topic: The topic's full name.
    """

    def __init__(self, producer: Producer, packer: Packer | None = None, *, topic: str = "uploads") -> None:
        self._outbox = Outbox(producer, "upload")
        self._packer = packer or Packer()
        self._topic = topic

    @classmethod
    def connect(
        cls, settings: Settings | None = None, *, topic: Destination = "uploads", client_id: str = "upload"
    ) -> Self:
        """Opens a connection as the settings say; nothing is sent until something is.

        Args:
            settings: Read from ``VERISTREAM_*`` variables unless given.
            topic: ``uploads``, or ``uploads.backfill`` for what can wait.
            client_id: Name in the broker's logs.
        """
        settings = settings or load()
        packer = Packer(
            store=open_store(settings.blobs),
            inline_limit=settings.blobs.inline_limit,
            max_bytes=settings.images.max_bytes,
        )
        producer = KafkaProducer(settings.kafka, client_id=client_id)
        return cls(producer, packer, topic=layout(settings.topics)[topic].name)

    def send(self, content: Content, **about: Unpack[About]) -> str:
        """Queues an upload and returns its id at once; `flush` or `close` tell what was not delivered.

        Args:
            content: The picture's bytes, a `pathlib.Path`, or the URI of a stored object.
            **about: See `About`; ``uploader`` is required.

        Raises:
            VeristreamError: Nothing was queued; see `Packer.pack` for the kinds.
        """
        upload = self._packer.pack(content, about)
        self._outbox.send(self._record(upload), upload.id)
        return upload.id

    def send_and_wait(self, content: Content, *, timeout_s: float = 30.0, **about: Unpack[About]) -> str:
        """Sends one upload and returns its id once Kafka has acknowledged it.

        Raises:
            DeliveryFailed: Refused, or not acknowledged in time; it may arrive all the same.
            VeristreamError: Nothing was sent; see `Packer.pack`.
        """
        upload_id, delivered = self.submit(content, **about)
        try:
            delivered.result(timeout_s)
        except TimeoutError:
            raise DeliveryFailed(f"upload {upload_id} was not acknowledged within {timeout_s:g} s") from None
        return upload_id

    def submit(self, content: Content, **about: Unpack[About]) -> tuple[str, Future[None]]:
        """Sends one upload and returns its id with a future of the acknowledgement, which alone tells its outcome."""
        upload = self._packer.pack(content, about)
        delivered: Future[None] = Future()
        delivered.set_running_or_notify_cancel()  # From here on a caller that gives up cannot cancel what is sent.

        def settle(error: VeristreamError | None) -> None:
            if error is None:
                delivered.set_result(None)
            else:
                failure = DeliveryFailed(f"upload {upload.id} was not delivered: {error}")
                failure.__cause__ = error
                delivered.set_exception(failure)

        self._outbox.send(self._record(upload), upload.id, settle)
        return upload.id, delivered

    def flush(self, timeout_s: float = 30.0) -> None:
        """Waits until everything sent is acknowledged.

        Raises:
            DeliveryFailed: Names the uploads that failed since the last call, or are still without an answer; all of
                them are in `undelivered`.
        """
        self._outbox.flush(timeout_s)

    @property
    def undelivered(self) -> Mapping[str, VeristreamError]:
        """Ids that the last `flush` or `close` found undelivered, each with its error."""
        return self._outbox.undelivered

    def close(self, timeout_s: float = 30.0) -> None:
        """Flushes, then lets go of the connection.

        Raises:
            DeliveryFailed: As in `flush`; the connection is closed all the same.
        """
        self._outbox.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except DeliveryFailed as failure:
            if error is None:
                raise
            error.add_note(str(failure))  # The block's own error goes on; it must not hide this one.

    def _record(self, upload: Upload) -> Outgoing:
        return uploads.encode(upload, topic=self._topic)


class AsyncUploadProducer:
    """The same for asyncio: `send` returns when Kafka has acknowledged.

    Packing and queueing run in the default thread pool, because reading files, writing blobs and a full queue block.

    Args:
        producer: The synchronous producer that does the work; `connect` builds it.
    """

    def __init__(self, producer: UploadProducer) -> None:
        self._producer = producer

    @classmethod
    def connect(
        cls, settings: Settings | None = None, *, topic: Destination = "uploads", client_id: str = "upload"
    ) -> Self:
        """Opens a connection as `UploadProducer.connect` does."""
        return cls(UploadProducer.connect(settings, topic=topic, client_id=client_id))

    async def send(self, content: Content, **about: Unpack[About]) -> str:
        """Sends one upload and returns its id once Kafka has acknowledged it.

        Cancelling stops the waiting only; the upload may arrive all the same.

        Raises:
            DeliveryFailed: Kafka refused it or gave no answer within its delivery timeout.
            VeristreamError: Nothing was sent; see `Packer.pack`.
        """
        upload_id, delivered = await asyncio.to_thread(self._producer.submit, content, **about)
        await asyncio.wrap_future(delivered)
        return upload_id

    async def close(self) -> None:
        """Waits for what is queued and lets go of the connection."""
        await asyncio.to_thread(self._producer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
