import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.packing import Packer, sniff, time_ordered_id
from stream.doubles import MemoryBlobs
from stream.errors import (
    BlobForbidden,
    BlobNotFound,
    ConfigurationError,
    ImageTooLarge,
    MalformedEvent,
    NotAnImage,
)
from stream.events import ImageClaim
from tests.producers.pictures import encoded, jpeg

ABOUT = {"uploader": "account-17"}


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/gif"), ("WEBP", "image/webp")],
)
def test_media_type_is_read_from_the_first_bytes(name, media_type):
    upload = Packer().pack(encoded(name), ABOUT)
    assert upload.media_type == media_type


@given(st.binary(max_size=40))
def test_sniffing_never_fails(data):
    assert sniff(data) in {None, "image/jpeg", "image/png", "image/gif", "image/webp"}


def test_what_is_no_picture_is_refused_unless_its_type_is_given():
    with pytest.raises(NotAnImage, match="JPEG, PNG, WebP and GIF"):
        Packer().pack(b"GARBAGE", ABOUT)
    assert Packer().pack(b"GARBAGE", {**ABOUT, "media_type": "image/avif"}).media_type == "image/avif"
    with pytest.raises(MalformedEvent, match="image/"):
        Packer().pack(jpeg(), {**ABOUT, "media_type": "video/mp4"})


def test_bytes_up_to_the_limit_travel_inline_and_more_as_a_claim_check():
    picture, store = jpeg(), MemoryBlobs()
    inline = Packer(store, inline_limit=len(picture)).pack(picture, ABOUT)
    assert inline.content == picture
    assert not store.objects
    claimed = Packer(store, inline_limit=len(picture) - 1).pack(picture, ABOUT).content
    assert isinstance(claimed, ImageClaim)
    assert store.objects == {claimed.uri: picture}
    assert (claimed.sha256, claimed.size) == (hashlib.sha256(picture).hexdigest(), len(picture))
    assert claimed.media_type == "image/jpeg"


def test_without_a_store_a_large_picture_is_refused_with_the_setting_to_make():
    with pytest.raises(ConfigurationError, match=r"inline limit of 10, and no blob store.*VERISTREAM_BLOBS__STORE"):
        Packer(inline_limit=10).pack(jpeg(), ABOUT)


def test_a_file_is_read_and_a_missing_one_is_told(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg())
    assert Packer().pack(path, ABOUT).content == jpeg()
    with pytest.raises(BlobNotFound, match=r"b\.jpg"):
        Packer().pack(tmp_path / "b.jpg", ABOUT)


def test_over_the_limit_of_the_workers_nothing_is_read_or_sent(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(101)
    with pytest.raises(ImageTooLarge):
        Packer(max_bytes=100).pack(path, ABOUT)
    with pytest.raises(ImageTooLarge):
        Packer(max_bytes=100).pack(jpeg(), ABOUT)


def test_a_uri_is_pointed_to_with_facts_read_from_the_store():
    store, picture = MemoryBlobs(), jpeg()
    uri = store.write("here.jpg", picture, media_type="image/jpeg")
    claim = Packer(store).pack(uri, ABOUT).content
    assert claim == ImageClaim(
        uri=uri, sha256=hashlib.sha256(picture).hexdigest(), media_type="image/jpeg", size=len(picture)
    )


def test_a_uri_with_its_facts_is_not_fetched():
    facts = {"sha256": "a" * 64, "size": 7, "media_type": "image/png"}
    claim = Packer().pack("s3://elsewhere/key.png", {**ABOUT, **facts}).content
    assert claim == ImageClaim(uri="s3://elsewhere/key.png", **facts)
    with pytest.raises(MalformedEvent, match="sha256"):
        Packer().pack("s3://elsewhere/key.png", {**ABOUT, **facts, "sha256": "no digest"})
    with pytest.raises(ImageTooLarge):
        Packer(max_bytes=6).pack("s3://elsewhere/key.png", {**ABOUT, **facts})


def test_a_uri_that_may_not_be_read_or_is_none_is_refused():
    with pytest.raises(BlobForbidden):
        Packer().pack("file:///etc/passwd", ABOUT)
    with pytest.raises(MalformedEvent, match=r"pathlib\.Path"):
        Packer().pack("pictures/a.jpg", ABOUT)


def test_what_is_said_of_an_upload_is_kept():
    at = datetime(2026, 11, 1, tzinfo=UTC)
    upload = Packer(source="shop").pack(
        jpeg(), {**ABOUT, "tenant": "t", "upload_id": "mine", "occurred_at": at, "traceparent": "00-1-2-01"}
    )
    assert (upload.id, upload.tenant, upload.occurred_at, upload.traceparent) == ("mine", "t", at, "00-1-2-01")
    assert (upload.uploader, upload.source) == ("account-17", "shop")


def test_ids_are_uuids_in_the_order_of_their_time():
    start = datetime(2026, 11, 21, 12, tzinfo=UTC)
    ids = [time_ordered_id(start + timedelta(microseconds=step)) for step in range(0, 3000, 7)]
    assert ids == sorted(ids)
    assert {UUID(upload_id).version for upload_id in ids} == {7}
    assert UUID(ids[0]).variant == "specified in RFC 4122"
    assert len({time_ordered_id(start) for _ in range(1000)}) == 1000
    assert time_ordered_id() > ids[-1] or datetime.now(UTC) < start


def test_an_upload_that_happened_earlier_gets_an_id_of_that_time():
    at = datetime(2020, 1, 1, tzinfo=UTC)
    upload = Packer().pack(jpeg(), {**ABOUT, "occurred_at": at})
    assert UUID(upload.id).int >> 80 == round(at.timestamp() * 1000)


def test_path_type_is_what_tells_a_file_from_a_uri(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg())
    with pytest.raises(MalformedEvent):
        Packer().pack(str(path), ABOUT)
    assert isinstance(Packer().pack(Path(str(path)), ABOUT).content, bytes)
