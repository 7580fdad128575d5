"""The upload event: a picture's own bytes, or the claim check of one that lies in a blob store."""

from dataclasses import dataclass
from datetime import UTC, datetime

from stream import cloudevents
from stream.cloudevents import CloudEvent
from stream.errors import MalformedEvent, UnsupportedVersion
from stream.events import LONGEST_ID, ImageClaim
from stream.records import Outgoing, Record

TYPE = "veristream.upload.v1"
_FAMILY = TYPE.rpartition(".")[0]
CLAIM_MEDIA_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture that was uploaded.

    Attributes:
        id: Upload id, the record's key.
        content: The picture's bytes, or where they lie.
        media_type: What the uploader says the bytes are, such as ``image/jpeg``.
        uploader: Opaque account id.
        tenant: Whose platform.
        occurred_at: When it was uploaded; latency counts from here.
        source: Who produced the event.
        traceparent: W3C trace context, passed on.
    """

    id: str
    content: bytes | ImageClaim
    media_type: str
    uploader: str
    occurred_at: datetime
    tenant: str = "default"
    source: str = "veristream/producer"
    traceparent: str | None = None


def encode(upload: Upload, *, topic: str) -> Outgoing:
    """Writes an upload as a CloudEvent keyed by its id."""
    claim = isinstance(upload.content, ImageClaim)
    event = CloudEvent(
        id=upload.id,
        source=upload.source,
        type=TYPE,
        data=upload.content.to_json() if isinstance(upload.content, ImageClaim) else upload.content,
        content_type=CLAIM_MEDIA_TYPE if claim else upload.media_type,
        time=upload.occurred_at,
        subject=upload.id,
        traceparent=upload.traceparent,
        extensions={"uploader": upload.uploader, "tenant": upload.tenant},
    )
    return cloudevents.encode(event, topic=topic, key=upload.id)


def decode(record: Record) -> Upload:
    """Reads an upload; the record's key is the upload id.

    Raises:
        MalformedEvent: Headers, key or claim cannot be read, or the content type is neither a picture nor a claim.
        UnsupportedVersion: Another major version of the event or of its claim.
    """
    event = cloudevents.decode(record)
    if event.type != TYPE:
        error = UnsupportedVersion if event.type.startswith(f"{_FAMILY}.v") else MalformedEvent
        raise error(f"event type {event.type!r} is not {TYPE}", where=record.place)
    if not record.key:
        raise MalformedEvent("no key; the key is the upload id", where=record.place)
    if event.data is None:
        raise MalformedEvent("a tombstone where a picture was expected", where=record.place)
    try:
        upload_id = record.key.decode()
    except UnicodeDecodeError as error:
        raise MalformedEvent("the key is not UTF-8; it is the upload id", where=record.place) from error
    if len(upload_id) > LONGEST_ID:
        raise MalformedEvent(
            f"the upload id has {len(upload_id)} characters, more than {LONGEST_ID}", where=record.place
        )
    content_type = (event.content_type or "").partition(";")[0].strip().lower()
    content: bytes | ImageClaim
    if content_type == CLAIM_MEDIA_TYPE:
        content = ImageClaim.from_json(event.data, where=record.place)
        media_type = content.media_type
    elif content_type.startswith("image/"):
        content, media_type = event.data, content_type
    else:
        what = f"content-type {event.content_type!r} is neither image/* nor {CLAIM_MEDIA_TYPE}"
        raise MalformedEvent(what, where=record.place)
    return Upload(
        id=upload_id,
        content=content,
        media_type=media_type,
        uploader=event.extensions.get("uploader", ""),
        tenant=event.extensions.get("tenant", "default"),
        occurred_at=event.time or datetime.fromtimestamp(record.timestamp_ms / 1000, UTC),
        source=event.source,
        traceparent=event.traceparent,
    )
