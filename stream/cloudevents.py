"""CloudEvents 1.0 over Kafka in binary mode: attributes in ``ce_*`` headers, the value is the data itself.

Follows the Kafka Protocol Binding for CloudEvents 1.0.2: ``datacontenttype`` is the ``content-type`` header, every
other attribute is ``ce_<name>``, header values are UTF-8. ``traceparent`` (W3C Trace Context) travels as the plain
header that tracing libraries write; ``ce_traceparent`` (the CloudEvents extension) is read as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stream.errors import MalformedEvent, UnsupportedVersion
from stream.records import Outgoing, Record

_REQUIRED = ("ce_id", "ce_source", "ce_type")
_CORE = frozenset({"specversion", "id", "source", "type", "subject", "time", "dataschema", "traceparent"})
_EXTENSION_NAME = re.compile(r"[a-z0-9]{1,64}")
_DOCS = "Producers must send CloudEvents 1.0 in Kafka binary mode; see the contract in the README"


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """One event.

    Attributes:
        id: Unique with `source`.
        source: Who says it.
        type: What happened, such as ``veristream.upload.v1``.
        data: The value, as its own bytes; None is a tombstone.
        content_type: Media type of `data`.
        time: When it happened, with a time zone.
        subject: What it is about; the upload id in this project.
        dataschema: URI of the data's schema.
        traceparent: W3C trace context, passed on untouched.
        extensions: Further attributes, lower-case letters and digits.
    """

    id: str
    source: str
    type: str
    data: bytes | None
    content_type: str | None = None
    time: datetime | None = None
    subject: str | None = None
    dataschema: str | None = None
    traceparent: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)


def encode(event: CloudEvent, *, topic: str, key: str) -> Outgoing:
    """Writes an event as a Kafka record.

    Raises:
        MalformedEvent: An extension's name is not allowed by CloudEvents, or `time` has no time zone.
    """
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.type.encode()),
    ]
    if event.time is not None:
        headers.append(("ce_time", format_time(event.time).encode()))
    if event.subject is not None:
        headers.append(("ce_subject", event.subject.encode()))
    if event.dataschema is not None:
        headers.append(("ce_dataschema", event.dataschema.encode()))
    for name, value in event.extensions.items():
        if not _EXTENSION_NAME.fullmatch(name) or name in _CORE:
            raise MalformedEvent(f"“{name}” is no name for a CloudEvents extension", remedy="Use a-z and 0-9")
        headers.append((f"ce_{name}", value.encode()))
    if event.content_type is not None:
        headers.append(("content-type", event.content_type.encode()))
    if event.traceparent is not None:
        headers.append(("traceparent", event.traceparent.encode()))
    return Outgoing(topic, key.encode(), event.data, tuple(headers))


def decode(record: Record) -> CloudEvent:
    """Reads a Kafka record as an event.

    Raises:
        MalformedEvent: A required header is missing or not UTF-8, or ``ce_time`` is no RFC 3339 time.
        UnsupportedVersion: Another CloudEvents version than 1.0.
    """
    try:
        headers = {name.lower(): value.decode() for name, value in record.headers}
    except UnicodeDecodeError as error:
        raise MalformedEvent("a header is not UTF-8", where=record.place, remedy=_DOCS) from error
    version = headers.get("ce_specversion")
    missing = [name for name in ("ce_specversion", *_REQUIRED) if not headers.get(name)]
    if missing:
        raise MalformedEvent(f"missing headers: {', '.join(missing)}", where=record.place, remedy=_DOCS)
    if version != "1.0":
        raise UnsupportedVersion(f"CloudEvents version {version!r} is not 1.0", where=record.place, remedy=_DOCS)
    time = headers.get("ce_time")
    return CloudEvent(
        id=headers["ce_id"],
        source=headers["ce_source"],
        type=headers["ce_type"],
        data=record.value,
        content_type=headers.get("content-type"),
        time=parse_time(time, where=record.place) if time else None,
        subject=headers.get("ce_subject"),
        dataschema=headers.get("ce_dataschema"),
        traceparent=headers.get("traceparent") or headers.get("ce_traceparent"),
        extensions={n[3:]: v for n, v in headers.items() if n.startswith("ce_") and n[3:] not in _CORE},
    )


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with a ``Z``, to the microsecond."""
    if time.tzinfo is None:
        raise MalformedEvent("a time without a time zone", remedy="Use datetime.now(UTC)")
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str, *, where: str = "") -> datetime:
    """Reads an RFC 3339 time; one without a zone is refused, because nobody knows when it was."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedEvent(f"ce_time {text!r} is no RFC 3339 time", where=where, remedy=_DOCS) from error
    if time.tzinfo is None:
        raise MalformedEvent(f"ce_time {text!r} has no time zone", where=where, remedy=_DOCS)
    return time
