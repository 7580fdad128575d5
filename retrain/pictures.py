"""The pictures of labelled uploads, read again from where the uploads lie.

A verdict says at which offset its upload is. A picture may be gone, by retention or because somebody erased it: that is
counted and no fault.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from stream import uploads
from stream.blobs import redeem
from stream.errors import (
    BlobCorrupt,
    BlobForbidden,
    BlobNotFound,
    BlobUnavailable,
    ContractError,
    ImageTooLarge,
)
from stream.events import ImageClaim, Position
from stream.kafka import log
from stream.ports import BlobStore
from stream.positions import Place, records_at
from stream.records import Partition, Record
from stream.settings import KafkaSettings

Fate = Literal["gone", "refused", "unplaced"]

_SILENCE_S = 20.0
_ATTEMPTS = 5
_FIRST_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Found:
    """One picture: its upload and its bytes, claim checks redeemed."""

    upload_id: str
    data: bytes
    media_type: str


class Pictures:
    """Finds pictures. For one thread.

    Args:
        settings: How to reach Kafka.
        blobs: Where claim checks point.
        limit: Most bytes of a picture.
        stopping: Ends every wait.

    ``fates`` counts what did not come back: ``gone`` (the record or the blob is no longer there, or another upload lies
    in its place), ``refused`` (a claim that may not be redeemed, was changed or is too large; a record that is no
    upload), ``unplaced`` (the verdict did not say where).
    """

    def __init__(
        self, settings: KafkaSettings, blobs: BlobStore, *, limit: int, stopping: threading.Event | None = None
    ) -> None:
        self._settings = settings
        self._blobs = blobs
        self._limit = limit
        self._stopping = stopping or threading.Event()
        self.fates: Counter[Fate] = Counter()

    def find(
        self, wanted: Mapping[str, Position | None], kept: Mapping[str, ImageClaim] | None = None
    ) -> Iterator[Found]:
        """Yields the pictures that are still there, in no particular order.

        Args:
            wanted: Upload id to where its record lies.
            kept: Upload id to the copy that was made of its picture, which is read instead.

        Raises:
            BrokerUnavailable: The broker is silent.
            BlobUnavailable: The blob store does not answer, asked again and again.
        """
        places: dict[Place, str] = {}
        for upload_id, at in wanted.items():
            if kept and upload_id in kept and (copy := self._copy(upload_id, kept[upload_id])):
                yield copy
            elif at is None:
                self.fates["unplaced"] += 1
            else:
                places[Partition(at.topic, at.partition), at.offset] = upload_id
        for place, one in records_at(self._settings, places, timeout_s=_SILENCE_S):
            if found := self._opened(places[place], one):
                yield found

    def _copy(self, upload_id: str, claim: ImageClaim) -> Found | None:
        try:
            return Found(upload_id, self._redeemed(claim), claim.media_type)
        except (BlobNotFound, BlobForbidden, BlobCorrupt, ImageTooLarge):
            return None  # the upload itself may still be there

    def _opened(self, upload_id: str, one: Record | None) -> Found | None:
        if one is None or (one.key or b"").decode(errors="replace") != upload_id:
            self.fates["gone"] += 1
            return None
        try:
            upload = uploads.decode(one)
            content = upload.content
            data = self._redeemed(content) if isinstance(content, ImageClaim) else content
        except BlobNotFound:
            self.fates["gone"] += 1
            return None
        except (ContractError, BlobForbidden, BlobCorrupt, ImageTooLarge):
            self.fates["refused"] += 1
            return None
        if len(data) > self._limit:
            self.fates["refused"] += 1
            return None
        return Found(upload_id, data, upload.media_type)

    def _redeemed(self, claim: ImageClaim) -> bytes:
        wait = _FIRST_WAIT_S
        for _ in range(_ATTEMPTS - 1):
            try:
                return redeem(claim, self._blobs, self._limit)
            except BlobUnavailable as error:
                log.warning("waiting for the blob store: %s", error)
                self._stopping.wait(wait)
                wait *= 2
        return redeem(claim, self._blobs, self._limit)
