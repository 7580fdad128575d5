"""The embedding event: a little-endian float16 vector with its model's digest and score; never a label."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from stream import cloudevents
from stream.cloudevents import CloudEvent
from stream.errors import MalformedEvent, UnsupportedVersion
from stream.records import Outgoing, Record

TYPE = "veristream.embedding.v1"
CONTENT_TYPE = "application/vnd.veristream.embedding"
_WIRE = np.dtype("<f2")


@dataclass(frozen=True, slots=True)
class Embedding:
    """What the model saw in one upload.

    Attributes:
        upload_id: The record's key.
        vector: float16[D].
        model_digest: Digest of the bundle that made it.
        score: Calibrated probability that the picture is machine-made.
        tenant: Whose platform.
        at: When it was computed.
        traceparent: W3C trace context, passed on.
    """

    upload_id: str
    vector: NDArray[np.float16]
    model_digest: str
    score: float
    tenant: str
    at: datetime
    traceparent: str | None = None


def encode(embedding: Embedding, *, topic: str, source: str) -> Outgoing:
    """Writes an embedding as a CloudEvent keyed by its upload's id."""
    event = CloudEvent(
        id=embedding.upload_id,
        source=source,
        type=TYPE,
        data=embedding.vector.astype(_WIRE).tobytes(),
        content_type=CONTENT_TYPE,
        time=embedding.at,
        subject=embedding.upload_id,
        traceparent=embedding.traceparent,
        extensions={
            "dim": str(embedding.vector.size),
            "modeldigest": embedding.model_digest,
            "score": f"{embedding.score:.6f}",
            "tenant": embedding.tenant,
        },
    )
    return cloudevents.encode(event, topic=topic, key=embedding.upload_id)


def decode(record: Record) -> Embedding:
    """Reads an embedding.

    Raises:
        MalformedEvent: Headers are missing, the length is not ``dim`` float16, or a number is not finite.
        UnsupportedVersion: Another major version.
    """
    event = cloudevents.decode(record)
    if event.type != TYPE:
        raise UnsupportedVersion(f"event type {event.type!r} is not {TYPE}", where=record.place)
    try:
        dim, score = int(event.extensions["dim"]), float(event.extensions["score"])
        digest = event.extensions["modeldigest"]
    except (KeyError, ValueError) as error:
        what = f"dim, score or modeldigest is missing or no number: {error}"
        raise MalformedEvent(what, where=record.place) from error
    if event.data is None or len(event.data) != dim * _WIRE.itemsize:
        size = "a tombstone" if event.data is None else f"{len(event.data)} bytes"
        raise MalformedEvent(f"{size} where {dim} float16 were announced", where=record.place)
    vector = np.frombuffer(event.data, _WIRE)
    if not np.isfinite(vector).all() or not 0.0 <= score <= 1.0:
        raise MalformedEvent("a number is not finite, or the score is no probability", where=record.place)
    return Embedding(
        upload_id=(record.key or b"").decode(errors="replace"),
        vector=vector,
        model_digest=digest,
        score=score,
        tenant=event.extensions.get("tenant", "default"),
        at=event.time or datetime.fromtimestamp(record.timestamp_ms / 1000, UTC),
        traceparent=event.traceparent,
    )
