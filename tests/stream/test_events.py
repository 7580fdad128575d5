import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stream import messages, schemas
from stream.errors import MalformedEvent, UnsupportedVersion
from stream.events import ImageClaim, Label, SlotChange, Verdict
from stream.messages import TYPES
from stream.records import Outgoing, Record

AT = datetime(2026, 1, 2, tzinfo=UTC)
LABEL = Label(upload_id="u1", label="authentic", origin="moderator", reviewer="m1", at=AT)
json_values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=4)


def arrived(sent: Outgoing, **headers: bytes) -> Record:
    merged = {**dict(sent.headers), **headers}
    return Record(sent.topic, 0, 0, 0, sent.key, sent.value, tuple(merged.items()))


def wire(**changes) -> bytes:
    return json.dumps({**json.loads(LABEL.to_json()), **changes}).encode()


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=5), json_values, max_size=3))
def test_unknown_fields_are_kept(extra):
    label = Label.from_json(wire(**extra))
    again = json.loads(Label.from_json(label.to_json()).to_json())
    assert {name: again[name] for name in extra} == extra


def test_a_minor_version_is_read_and_a_major_one_is_refused():
    assert Label.from_json(wire(schema_version="1.7")).schema_version == "1.7"
    with pytest.raises(UnsupportedVersion, match=r"'2\.0' is not 1\.x"):
        Label.from_json(wire(schema_version="2.0"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "a tombstone where a Label was expected"),
        (b"", "not a valid Label"),
        (b"{", "not a valid Label"),
        (b"[]", "not a valid Label"),
        (b"\xff", "not a valid Label"),
        (wire(label="maybe"), "label: "),
        (wire(at="2026-01-02T00:00:00"), "at: .*timezone"),
        (wire(upload_id=""), "upload_id: "),
    ],
)
def test_what_is_no_label_is_said_with_its_field(data, words):
    with pytest.raises(MalformedEvent, match=words) as caught:
        Label.from_json(data, where="feedback[0]@1")
    assert caught.value.where == "feedback[0]@1"


def test_events_do_not_change():
    with pytest.raises(ValidationError):
        LABEL.note = "x"


@pytest.mark.parametrize("change", [{"sha256": "A" * 64}, {"size": 0}, {"media_type": "text/html"}, {"uri": ""}])
def test_a_claim_that_cannot_be_true_is_refused(change):
    good = json.loads(schemas.EXAMPLES[ImageClaim].to_json())
    assert ImageClaim.from_json(json.dumps(good).encode()).size > 0
    with pytest.raises(MalformedEvent, match=next(iter(change))):
        ImageClaim.from_json(json.dumps({**good, **change}).encode())


def test_a_slot_may_be_emptied():
    change = SlotChange(slot="shadow", uri=None, digest=None, at=AT)
    assert SlotChange.from_json(change.to_json()) == change


@pytest.mark.parametrize("kind", sorted(TYPES, key=lambda kind: kind.__name__))
def test_every_event_travels_as_a_cloudevent(kind):
    event = schemas.EXAMPLES[kind]
    sent = messages.encode(event, topic="t", key="k", source="test", time=AT, traceparent="00-a-b-01")
    headers = dict(sent.headers)
    assert sent.key == b"k"
    assert (headers["ce_type"], headers["ce_id"], headers["ce_subject"]) == (TYPES[kind].encode(), b"k", b"k")
    assert headers["content-type"] == b"application/json"
    assert messages.decode(arrived(sent), kind) == event


def test_an_event_may_have_an_id_of_its_own():
    sent = messages.encode(LABEL, topic="t", key="k", source="test", time=AT, event_id="label-1")
    assert dict(sent.headers)["ce_id"] == b"label-1"


def test_another_kind_is_malformed_and_another_major_unsupported():
    sent = messages.encode(LABEL, topic="t", key="k", source="test", time=AT)
    with pytest.raises(MalformedEvent, match=r"'veristream.label.v1' is not veristream.verdict.v1"):
        messages.decode(arrived(sent), Verdict)
    with pytest.raises(UnsupportedVersion, match=r"veristream.label.v2"):
        messages.decode(arrived(sent, ce_type=b"veristream.label.v2"), Label)
