"""The pictures of labelled uploads, read again from where the uploads lie.

A verdict says at which offset its upload is. Every partition is read from the first offset that is wanted: short gaps
are read over, long ones are jumped. Nobody joins a group and nothing is committed. A picture may be gone, by retention
or because somebody erased it: that is counted and no fault.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream import uploads
from stream.blobs import redeem
from stream.errors import (
    BlobCorrupt,
    BlobForbidden,
    BlobNotFound,
    BlobUnavailable,
    BrokerUnavailable,
    ContractError,
    ImageTooLarge,
)
from stream.events import ImageClaim, Position
from stream.kafka import consumer_config, explain, log, record
from stream.ports import BlobStore
from stream.records import Partition, Record
from stream.settings import KafkaSettings

Fate = Literal["gone", "refused", "unplaced"]

_GROUP = "veristream-pictures"
_JUMP = 200
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
        places: dict[Partition, dict[int, str]] = {}
        for upload_id, at in wanted.items():
            if kept and upload_id in kept and (copy := self._copy(upload_id, kept[upload_id])):
                yield copy
            elif at is None:
                self.fates["unplaced"] += 1
            else:
                places.setdefault(Partition(at.topic, at.partition), {})[at.offset] = upload_id
        for upload_id, one in self._records(places):
            found = None if one is None else self._opened(upload_id, one)
            if found is not None:
                yield found

    def _copy(self, upload_id: str, claim: ImageClaim) -> Found | None:
        try:
            return Found(upload_id, self._redeemed(claim), claim.media_type)
        except (BlobNotFound, BlobForbidden, BlobCorrupt, ImageTooLarge):
            return None  # the upload itself may still be there

    def _opened(self, upload_id: str, one: Record) -> Found | None:
        if (one.key or b"").decode(errors="replace") != upload_id:
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

    def _records(self, places: Mapping[Partition, Mapping[int, str]]) -> Iterator[tuple[str, Record | None]]:
        """Every wanted record, or None in its place where it is no longer there."""
        left = {tp: deque(sorted(offsets)) for tp, offsets in places.items()}
        if not left:
            return
        config = consumer_config(self._settings, group=_GROUP, client_id=_GROUP) | {
            "enable.partition.eof": True,
            # What retention has overtaken is gone; the first record that is left says so.
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer(config, logger=log)
        try:
            for upload_id in self._outside(consumer, left, places):
                self.fates["gone"] += 1
                yield upload_id, None
            consumer.assign([TopicPartition(*tp, offsets[0]) for tp, offsets in left.items()])
            while left:
                message = consumer.poll(_SILENCE_S)
                if message is None:
                    what = f"nothing was heard of {len(left)} partitions for {_SILENCE_S:g} s"
                    raise BrokerUnavailable(what, where=self._settings.bootstrap)
                tp = Partition(message.topic() or "", message.partition() or 0)
                if tp in left:
                    yield from self._taken(consumer, message, tp, left, places[tp])
        finally:
            consumer.close()

    def _taken(
        self,
        consumer: Consumer,
        message: Message,
        tp: Partition,
        left: dict[Partition, deque[int]],
        places: Mapping[int, str],
    ) -> Iterator[tuple[str, Record | None]]:
        offsets = left[tp]
        fault = message.error()
        if fault is not None and fault.code() != KafkaError._PARTITION_EOF:
            problem = explain(fault, "reading uploads again", self._settings.bootstrap)
            if not problem.retryable:
                raise problem
            return
        # At the end of a partition its offset is the end, beyond everything that is there.
        here = message.offset() or 0
        while offsets and offsets[0] < here:
            self.fates["gone"] += 1
            yield places[offsets.popleft()], None
        if fault is None and offsets and offsets[0] == here:
            yield places[offsets.popleft()], record(message)
        if fault is not None:
            for offset in offsets:
                self.fates["gone"] += 1
                yield places[offset], None
            offsets.clear()
        if not offsets:
            del left[tp]
            consumer.incremental_unassign([TopicPartition(*tp)])
        elif offsets[0] - here > _JUMP:
            consumer.seek(TopicPartition(*tp, offsets[0]))

    def _outside(
        self,
        consumer: Consumer,
        left: dict[Partition, deque[int]],
        places: Mapping[Partition, Mapping[int, str]],
    ) -> Sequence[str]:
        """Takes what lies outside its partition's present ends off the list, and returns what was to be there."""
        outside: list[str] = []
        try:
            known = consumer.list_topics(timeout=_SILENCE_S).topics
            for tp, offsets in list(left.items()):
                there = tp.topic in known and tp.partition in known[tp.topic].partitions
                ends = consumer.get_watermark_offsets(TopicPartition(*tp), timeout=_SILENCE_S) if there else None
                low, high = ends or (0, 0)
                outside += [places[tp][offset] for offset in offsets if not low <= offset < high]
                left[tp] = deque(offset for offset in offsets if low <= offset < high)
                if not left[tp]:
                    del left[tp]
        except KafkaException as error:
            raise explain(error.args[0], "topics cannot be looked up", self._settings.bootstrap) from error
        return outside
