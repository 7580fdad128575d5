"""JSON events as Kafka records: each event class with its CloudEvents type."""

from datetime import datetime
from typing import TypeVar

from stream import cloudevents
from stream.cloudevents import CloudEvent
from stream.errors import MalformedEvent, UnsupportedVersion
from stream.events import DriftReport, Event, Label, RetrainStep, ShadowVerdict, SlotChange, Truth, Verdict
from stream.records import Outgoing, Record

TYPES: dict[type[Event], str] = {
    Verdict: "veristream.verdict.v1",
    ShadowVerdict: "veristream.shadowverdict.v1",
    Label: "veristream.label.v1",
    Truth: "veristream.truth.v1",
    DriftReport: "veristream.drift.v1",
    SlotChange: "veristream.slot.v1",
    RetrainStep: "veristream.retrain.v1",
}
CONTENT_TYPE = "application/json"

E = TypeVar("E", bound=Event)


def encode(
    event: Event,
    *,
    topic: str,
    key: str,
    source: str,
    time: datetime,
    event_id: str = "",
    traceparent: str | None = None,
) -> Outgoing:
    """Writes a JSON event as a CloudEvent keyed by ``key``, which is also its subject and, unless given, its id."""
    return cloudevents.encode(
        CloudEvent(
            id=event_id or key,
            source=source,
            type=TYPES[type(event)],
            data=event.to_json(),
            content_type=CONTENT_TYPE,
            time=time,
            subject=key,
            traceparent=traceparent,
        ),
        topic=topic,
        key=key,
    )


def decode(record: Record, kind: type[E]) -> E:
    """Reads a JSON event of one kind.

    Raises:
        MalformedEvent: Headers or JSON cannot be read, or it is an event of another kind.
        UnsupportedVersion: The event's type or schema has another major version.
    """
    envelope = cloudevents.decode(record)
    expected = TYPES[kind]
    if envelope.type != expected:
        family = expected.rpartition(".")[0]
        error = UnsupportedVersion if envelope.type.startswith(f"{family}.v") else MalformedEvent
        raise error(f"event type {envelope.type!r} is not {expected}", where=record.place)
    return kind.from_json(envelope.data, where=record.place)
