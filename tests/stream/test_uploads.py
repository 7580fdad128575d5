from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import uploads
from stream.errors import MalformedEvent, UnsupportedVersion
from stream.events import ImageClaim
from stream.records import Outgoing, Record
from stream.uploads import Upload

CLAIM = ImageClaim(uri="s3://b/k", sha256="0" * 64, media_type="image/png", size=5)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
sent_uploads = st.builds(
    Upload,
    id=words,
    content=st.binary(max_size=50),
    media_type=st.sampled_from(["image/jpeg", "image/webp"]),
    uploader=words,
    occurred_at=st.datetimes(datetime(1971, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    tenant=words,
    source=words,
    traceparent=st.none() | words,
)


def arrived(sent: Outgoing, *, key: bytes | None = b"u1", value: bytes | None = b"", **headers: bytes) -> Record:
    named = {name.replace("-", "_"): name for name, _ in sent.headers}
    merged = {**dict(sent.headers), **{named.get(name, name): text for name, text in headers.items()}}
    return Record("uploads", 0, 3, 1500, key, value, tuple(merged.items()))


UPLOAD = Upload("u1", b"jpeg", "image/jpeg", "someone", datetime(2026, 1, 1, tzinfo=UTC))
SENT = uploads.encode(UPLOAD, topic="uploads")


@given(sent_uploads)
def test_a_picture_travels_as_its_own_bytes(upload):
    sent = uploads.encode(upload, topic="uploads")
    assert (sent.key, sent.value) == (upload.id.encode(), upload.content)
    assert uploads.decode(arrived(sent, key=sent.key, value=sent.value)) == upload


def test_a_claim_travels_as_json_and_brings_its_media_type():
    sent = uploads.encode(replace(UPLOAD, content=CLAIM, media_type="image/png"), topic="uploads")
    assert dict(sent.headers)["content-type"] == b"application/json"
    read = uploads.decode(arrived(sent, value=sent.value))
    assert (read.content, read.media_type) == (CLAIM, "image/png")


def test_what_a_producer_may_leave_out_has_a_default():
    optional = ("ce_time", "ce_uploader", "ce_tenant", "ce_subject")
    headers = tuple((name, value) for name, value in SENT.headers if name not in optional)
    read = uploads.decode(Record("uploads", 0, 3, 1500, b"u1", b"x", headers))
    assert (read.uploader, read.tenant) == ("", "default")
    assert read.occurred_at == datetime.fromtimestamp(1.5, UTC)


def test_a_media_type_may_have_parameters_and_capitals():
    assert uploads.decode(arrived(SENT, content_type=b"Image/JPEG; q=1")).media_type == "image/jpeg"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"key": None}, MalformedEvent, "no key"),
        ({"key": b""}, MalformedEvent, "no key"),
        ({"key": b"\xff"}, MalformedEvent, "key is not UTF-8"),
        ({"key": b"x" * 257}, MalformedEvent, "257 characters"),
        ({"value": None}, MalformedEvent, "a tombstone"),
        ({"content_type": b"text/html"}, MalformedEvent, "'text/html' is neither"),
        ({"content_type": b""}, MalformedEvent, "neither"),
        ({"content_type": b"application/json", "value": b"{}"}, MalformedEvent, "uri: "),
        ({"ce_type": b"veristream.upload.v2"}, UnsupportedVersion, "upload.v2"),
        ({"ce_type": b"veristream.uploads.v1"}, MalformedEvent, "is not veristream.upload.v1"),
        (
            {
                "content_type": b"application/json",
                "value": CLAIM.model_copy(update={"schema_version": "3.0"}).to_json(),
            },
            UnsupportedVersion,
            "'3.0'",
        ),
    ],
)
def test_what_is_no_upload_is_said(changes, error, words):
    with pytest.raises(error, match=words):
        uploads.decode(arrived(SENT, **changes))
