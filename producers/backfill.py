"""Sends a whole folder, zip or bucket as uploads that can wait: to ``uploads.backfill``, which is read without haste.

Ids follow from source, path and content, so a second run over the same pictures gives the same ids, and whoever reads
by id sees each picture once. With a journal a second run does not even send what was acknowledged before.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from producers.journal import Journal
from producers.packing import About, Content, sniff
from producers.sources import Entry, Refused, Source
from producers.upload import UploadProducer
from stream.errors import BlobCorrupt, BlobForbidden, BlobNotFound, DeliveryFailed, ImageTooLarge, VeristreamError
from stream.settings import MIB

_TOO_LARGE = "too large"
_REASONS: dict[type[VeristreamError], str] = {
    BlobNotFound: "gone before it was read",
    BlobForbidden: "may not be read",
    BlobCorrupt: "cannot be unpacked",
    ImageTooLarge: _TOO_LARGE,
}
_NAMESPACE = UUID("6f0c8f6e-3f0e-5b7c-9d0a-6a1f2f1d7b11")


@dataclass
class BackfillSummary:
    """What a run did.

    Attributes:
        found: Entries looked at.
        sent: Pictures handed to Kafka.
        delivered: Of these, acknowledged.
        done_before: Entries that the journal knew as delivered.
        skipped: Entries that were not sent, by reason.
        bytes: Of the pictures sent.
        seconds: How long it took.
    """

    found: int = 0
    sent: int = 0
    delivered: int = 0
    done_before: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    seconds: float = 0.0

    def report(self) -> dict[str, Any]:
        """The summary for JSON."""
        return {
            "found": self.found,
            "sent": self.sent,
            "delivered": self.delivered,
            "done_before": self.done_before,
            "skipped": dict(sorted(self.skipped.items())),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "pictures_per_s": round(self.sent / self.seconds, 2) if self.seconds else 0.0,
        }


class Backfill:
    """One run over one source.

    Args:
        source: Where the pictures are.
        uploads: Where they go; the caller closes it.
        journal: What was delivered before.
        uploader: Account id to put on every upload.
        tenant: Whose platform.
        inline_limit: Above this many bytes a picture that workers can fetch by URI is pointed to rather than sent.
        max_bytes: Larger pictures are skipped.
        per_second: At most this many pictures a second; None for as fast as Kafka takes them.
    """

    def __init__(
        self,
        source: Source,
        uploads: UploadProducer,
        journal: Journal,
        *,
        uploader: str = "backfill",
        tenant: str = "default",
        inline_limit: int = 256 * 1024,
        max_bytes: int = 20 * MIB,
        per_second: float | None = None,
    ) -> None:
        self._source = source
        self._uploads = uploads
        self._journal = journal
        self._uploader = uploader
        self._tenant = tenant
        self._inline_limit = inline_limit
        self._max_bytes = max_bytes
        self._per_second = per_second
        self._delivered = 0
        self._failures: list[VeristreamError] = []

    def run(
        self,
        *,
        stop: threading.Event | None = None,
        on_progress: Callable[[BackfillSummary], None] | None = None,
        flush_s: float = 30.0,
    ) -> BackfillSummary:
        """Sends everything that was not delivered before, and waits for the acknowledgements.

        Args:
            stop: Ends the run after the picture in hand.
            on_progress: Called after every entry.
            flush_s: How long to wait for acknowledgements at the end, seconds.

        Raises:
            DeliveryFailed: Kafka did not acknowledge some pictures; the journal holds those it did, so run again.
            BlobError: The source cannot be listed or does not answer.
        """
        stop = stop or threading.Event()
        summary = BackfillSummary()
        start = time.monotonic()
        for entry in self._source.entries():
            if stop.is_set() or self._failures:
                break
            summary.found += 1
            self._handle(entry, summary)
            summary.delivered, summary.seconds = self._delivered, time.monotonic() - start
            if on_progress is not None:
                on_progress(summary)
            if self._per_second is not None:
                stop.wait(max(0.0, summary.sent / self._per_second - summary.seconds))
        self._uploads.flush(flush_s)
        summary.delivered, summary.seconds = self._delivered, time.monotonic() - start
        if summary.delivered < summary.sent:
            reason = str(self._failures[0]) if self._failures else f"no acknowledgement within {flush_s:g} s"
            raise DeliveryFailed(
                f"{summary.sent - summary.delivered} of {summary.sent} pictures were not delivered: {reason}",
                where=self._source.name,
                remedy="Run again with the same --state file; what was delivered is not sent again",
            )
        return summary

    def _handle(self, entry: Entry | Refused, summary: BackfillSummary) -> None:
        if isinstance(entry, Refused):
            summary.skipped[entry.reason] += 1
        elif self._journal.done(entry):
            summary.done_before += 1
        elif entry.size > self._max_bytes:
            summary.skipped[_TOO_LARGE] += 1
        else:
            try:
                data = self._source.read(entry, limit=self._max_bytes)
            except (BlobNotFound, BlobForbidden, BlobCorrupt, ImageTooLarge) as error:
                summary.skipped[_REASONS[type(error)]] += 1
                return
            media_type = sniff(data)
            if media_type is None:
                summary.skipped["not a picture" if data else "empty"] += 1
                return
            self._send(entry, data, media_type)
            summary.sent += 1
            summary.bytes += len(data)

    def _send(self, entry: Entry, data: bytes, media_type: str) -> None:
        digest = hashlib.sha256(data).hexdigest()
        about = About(
            uploader=self._uploader,
            tenant=self._tenant,
            media_type=media_type,
            upload_id=str(uuid5(_NAMESPACE, f"{self._source.name}\n{entry.path}\n{digest}")),
        )
        uri = self._source.uri(entry)
        content: Content = data
        if uri is not None and len(data) > self._inline_limit:
            content = uri
            about |= About(uploader=self._uploader, sha256=digest, size=len(data))
        _, delivered = self._uploads.submit(content, **about)
        delivered.add_done_callback(partial(self._settled, entry, str(about["upload_id"])))

    def _settled(self, entry: Entry, upload_id: str, delivered: "Future[None]") -> None:
        # Runs on the producer's delivery thread, one call at a time.
        error = delivered.exception()
        if isinstance(error, VeristreamError):
            self._failures.append(error)
        else:
            self._journal.record(entry, upload_id)
            self._delivered += 1
