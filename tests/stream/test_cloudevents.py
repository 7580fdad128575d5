from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from stream import cloudevents
from stream.cloudevents import CloudEvent
from stream.errors import MalformedEvent, UnsupportedVersion
from stream.records import Outgoing, Record

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001
core = {"specversion", "id", "source", "type", "subject", "time", "dataschema", "traceparent"}
names = st.text("abcxyz019", min_size=1, max_size=20).filter(lambda name: name not in core)
events = st.builds(
    CloudEvent,
    id=words,
    source=words,
    type=words,
    data=st.none() | st.binary(max_size=50),
    content_type=st.sampled_from(["image/jpeg", "application/octet-stream", None]),
    time=st.none() | times,
    subject=st.none() | words,
    dataschema=st.none() | words,
    traceparent=st.none() | words,
    extensions=st.dictionaries(names, words, max_size=4),
)


def arrived(sent: Outgoing, headers: tuple[tuple[str, bytes], ...] | None = None) -> Record:
    return Record(sent.topic, 2, 7, 0, sent.key, sent.value, sent.headers if headers is None else headers)


@given(events, words)
def test_what_is_encoded_is_decoded(event, key):
    sent = cloudevents.encode(event, topic="t", key=key)
    assert (sent.topic, sent.key, sent.value) == ("t", key.encode(), event.data)
    assert cloudevents.decode(arrived(sent)) == event


@given(events.filter(lambda event: event.data and event.time))
def test_the_official_sdk_reads_what_we_write(event):
    event = replace(event, content_type="image/jpeg", dataschema="https://example.org/schema")
    sent = cloudevents.encode(event, topic="t", key="k")
    read = from_binary_event(KafkaMessage(headers=dict(sent.headers), key=sent.key, value=sent.value))
    assert (read.get_id(), read.get_source(), read.get_type()) == (event.id, event.source, event.type)
    data = read.get_data()
    # The SDK hands bytes that happen to be UTF-8 out as text.
    assert (data.encode() if isinstance(data, str) else data) == event.data
    assert read.get_datacontenttype() == "image/jpeg"
    assert read.get_subject() == event.subject
    assert read.get_time() == event.time
    assert {name: read.get_extension(name) for name in event.extensions} == event.extensions


@given(extension=words, data=st.binary(max_size=50), time=times)
def test_we_read_what_the_official_sdk_writes(extension, data, time):
    attributes = {
        "id": "1", "source": "/platform", "type": "veristream.upload.v1", "specversion": "1.0", "time": time,
        "datacontenttype": "image/png", "subject": "u1", "uploader": extension, "traceparent": "00-abc-def-01",
    }  # fmt: skip
    message = to_binary_event(SdkEvent(attributes, data))
    event = cloudevents.decode(Record("t", 0, 0, 0, b"u1", message.value, tuple(message.headers.items())))
    assert (event.id, event.source, event.type, event.subject) == ("1", "/platform", "veristream.upload.v1", "u1")
    assert event.data == data
    assert event.content_type == "image/png"
    assert event.time == time
    assert event.extensions["uploader"] == extension
    assert event.traceparent == "00-abc-def-01"


EVENT = CloudEvent(id="1", source="s", type="t", data=b"")


def changed(name: str, value: bytes | None) -> Record:
    sent = cloudevents.encode(EVENT, topic="t", key="k")
    headers = tuple((n, v) for n, v in sent.headers if n != name)
    return arrived(sent, headers if value is None else (*headers, (name, value)))


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_source", "ce_type"])
@pytest.mark.parametrize("value", [None, b""])
def test_a_required_header_that_is_missing_is_named(name, value):
    with pytest.raises(MalformedEvent, match=f"missing headers: {name}") as caught:
        cloudevents.decode(changed(name, value))
    assert caught.value.where == "t[2]@7"
    assert "CloudEvents 1.0" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("ce_subject", b"\xff", MalformedEvent, "not UTF-8"),
        ("ce_time", b"yesterday", MalformedEvent, "no RFC 3339 time"),
        ("ce_time", b"2026-01-02T03:04:05", MalformedEvent, "no time zone"),
        ("ce_specversion", b"0.3", UnsupportedVersion, "'0.3' is not 1.0"),
    ],
)
def test_what_cannot_be_read_is_said(name, value, error, words):
    with pytest.raises(error, match=words):
        cloudevents.decode(changed(name, value))


def test_header_names_are_read_in_any_case():
    sent = cloudevents.encode(EVENT, topic="t", key="k")
    shouted = tuple((name.upper(), value) for name, value in sent.headers)
    assert cloudevents.decode(arrived(sent, shouted)) == EVENT


@pytest.mark.parametrize("name", ["Upper", "with-dash", "", "x" * 65, "id", "subject"])
def test_a_name_that_is_no_extensions_is_refused(name):
    with pytest.raises(MalformedEvent, match="no name for a CloudEvents extension"):
        cloudevents.encode(replace(EVENT, extensions={name: "v"}), topic="t", key="k")


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(MalformedEvent, match="without a time zone"):
        cloudevents.encode(replace(EVENT, time=datetime(2026, 1, 1)), topic="t", key="k")  # noqa: DTZ001
    assert cloudevents.format_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
