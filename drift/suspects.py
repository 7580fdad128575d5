"""The pictures of suspects, small enough for a page: read from where their uploads lie, opened with every guard."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from drift.facts import Fact, Facts
from models.decode import DecodeLimits, decode
from stream import uploads
from stream.blobs import redeem
from stream.errors import BlobNotFound, VeristreamError
from stream.events import ImageClaim
from stream.ports import BlobStore
from stream.positions import Place, records_at
from stream.records import Partition, Record
from stream.settings import Settings
from stream.topics import layout

_SIDE = 320
_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Suspect:
    """One upload that looks new.

    Attributes:
        upload_id: Which.
        fact: What was said of it; None where that is no longer known.
        thumbnail: A JPEG as a data URI; empty where the picture is gone.
        size: Width and height of the original, pixels.
        missing: Why there is no picture, in words.
    """

    upload_id: str
    fact: Fact | None
    thumbnail: str = ""
    size: tuple[int, int] = (0, 0)
    missing: str = ""


def find(upload_ids: Sequence[str], facts: Facts, settings: Settings, store: BlobStore) -> list[Suspect]:
    """Looks suspects' pictures up, in the order of their ids. What is gone is said, never raised.

    Raises:
        BrokerError: The uploads cannot be read at all.
    """
    known = {upload_id: facts.find(upload_id) for upload_id in upload_ids}
    records = _records(known, settings)
    return [_suspect(upload_id, fact, records.get(upload_id), settings, store) for upload_id, fact in known.items()]


def _records(known: Mapping[str, Fact | None], settings: Settings) -> dict[str, Record]:
    names = layout(settings.topics)
    readable = {names["uploads"].name, names["uploads.backfill"].name}
    places: dict[Place, str] = {}
    for upload_id, fact in known.items():
        at = fact.upload_at if fact is not None else None
        if at is not None and at.topic in readable:
            places[Partition(at.topic, at.partition), at.offset] = upload_id
    found = records_at(settings.kafka, places)
    return {places[place]: record for place, record in found if record is not None}


def _suspect(upload_id: str, fact: Fact | None, record: Record | None, settings: Settings, store: BlobStore) -> Suspect:
    if fact is None:
        return Suspect(upload_id, None, missing="Its verdict is not remembered, so nobody knows where the upload lies")
    if record is None:
        gone = "The upload is no longer in its topic" if fact.upload_at else "Its verdict does not say where it lies"
        return Suspect(upload_id, fact, missing=gone)
    try:
        thumbnail, size = _thumbnail(record, upload_id, settings, store)
    except VeristreamError as error:
        return Suspect(upload_id, fact, missing=error.what)
    return Suspect(upload_id, fact, thumbnail, size)


def _thumbnail(record: Record, upload_id: str, settings: Settings, store: BlobStore) -> tuple[str, tuple[int, int]]:
    upload = uploads.decode(record)
    if upload.id != upload_id:
        raise BlobNotFound("Another upload lies there now", where=record.place)
    limits = settings.images
    content = upload.content
    data = redeem(content, store, limits.max_bytes) if isinstance(content, ImageClaim) else content
    picture = decode(data, upload.media_type, DecodeLimits(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels))
    image = Image.fromarray(picture.pixels)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/jpeg;base64,{encoded}", (picture.width, picture.height)
