import json
import threading

import pytest

from producers.backfill import Backfill
from producers.journal import Journal
from producers.sources import BucketSource, FolderSource, ZipSource
from producers.upload import UploadProducer
from stream import uploads as wire
from stream.doubles import MemoryBroker, MemoryProducer
from stream.errors import ConfigurationError, DeliveryFailed
from stream.events import ImageClaim
from stream.settings import BlobSettings
from tests.producers.pictures import jpeg
from tests.producers.test_sources import fill, make_zip, settings_for


@pytest.fixture
def memory():
    return MemoryBroker()


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(10):
        (root / f"{number}.jpg").write_bytes(jpeg(number))
    return root


def run(memory, source, journal=None, **options):
    uploads = UploadProducer(MemoryProducer(memory), topic="uploads.backfill")
    with Journal(journal, source.name) as kept:
        limits = {name: options.pop(name) for name in ("stop", "on_progress", "flush_s") if name in options}
        return Backfill(source, uploads, kept, **options).run(**limits)


def sent(memory):
    return [wire.decode(record) for record in memory.records("uploads.backfill")]


def test_pictures_are_sent_and_the_rest_is_counted_with_its_reason(memory, pictures, tmp_path):
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "empty.jpg").touch()
    (pictures / "large.jpg").write_bytes(bytes(50_000))
    (pictures / "link.jpg").symlink_to(pictures / "1.jpg")
    summary = run(memory, FolderSource(pictures), uploader="archive", tenant="t", max_bytes=40_000)
    assert (summary.found, summary.sent, summary.delivered) == (14, 10, 10)
    assert summary.skipped == {"not a picture": 1, "empty": 1, "too large": 1, "link or special file": 1}
    assert summary.bytes == sum(len(jpeg(number)) for number in range(10))
    uploads = sent(memory)
    assert {upload.content for upload in uploads} == {jpeg(number) for number in range(10)}
    assert {(upload.uploader, upload.tenant) for upload in uploads} == {("archive", "t")}


def test_a_second_run_gives_the_same_ids(memory, pictures):
    run(memory, FolderSource(pictures))
    first = {upload.id for upload in sent(memory)}
    run(memory, FolderSource(pictures))
    assert len(sent(memory)) == 20
    assert {upload.id for upload in sent(memory)} == first
    (pictures / "1.jpg").write_bytes(jpeg(99))
    run(memory, FolderSource(pictures))
    assert len({upload.id for upload in sent(memory)}) == 11


def test_with_a_journal_a_second_run_sends_only_what_is_new(memory, pictures, tmp_path):
    state = tmp_path / "state.jsonl"
    run(memory, FolderSource(pictures), state)
    (pictures / "new.jpg").write_bytes(jpeg(50))
    summary = run(memory, FolderSource(pictures), state)
    assert (summary.done_before, summary.sent) == (10, 1)
    assert len(sent(memory)) == 11


def test_a_journal_cut_short_by_a_kill_loses_one_line_at_most(memory, pictures, tmp_path):
    state = tmp_path / "state.jsonl"
    run(memory, FolderSource(pictures), state)
    state.write_bytes(state.read_bytes()[:-7])
    summary = run(memory, FolderSource(pictures), state)
    assert (summary.done_before, summary.sent) == (9, 1)
    assert run(memory, FolderSource(pictures), state).done_before == 10
    assert len({upload.id for upload in sent(memory)}) == 10


def test_only_what_was_acknowledged_is_in_the_journal(memory, pictures, tmp_path):
    state = tmp_path / "state.jsonl"
    memory.refuse_next_send(DeliveryFailed("disk full"))
    with pytest.raises(DeliveryFailed, match=r"1 of 1 pictures were not delivered.*disk full.*--state"):
        run(memory, FolderSource(pictures), state)
    assert run(memory, FolderSource(pictures), state).sent == 10
    memory.away = True
    (pictures / "new.jpg").write_bytes(jpeg(50))
    with pytest.raises(DeliveryFailed, match="no acknowledgement"):
        run(memory, FolderSource(pictures), state, flush_s=0.01)
    memory.away = False
    assert run(memory, FolderSource(pictures), state).sent == 1


def test_a_run_can_be_stopped_and_gone_on_with(memory, pictures, tmp_path):
    state, stop = tmp_path / "state.jsonl", threading.Event()

    def after_four(summary):
        if summary.sent == 4:
            stop.set()

    assert run(memory, FolderSource(pictures), state, stop=stop, on_progress=after_four).delivered == 4
    assert run(memory, FolderSource(pictures), state).sent == 6
    assert len(sent(memory)) == len({upload.id for upload in sent(memory)}) == 10


def test_the_rate_is_held(memory, pictures):
    summary = run(memory, FolderSource(pictures), per_second=200)
    assert summary.seconds >= 9 / 200


def test_a_zip_with_damage_goes_on_after_it(memory, tmp_path):
    path = make_zip(tmp_path / "a.zip", {f"{n}.jpg": jpeg(n, size=60) for n in range(3)} | {"../x.jpg": jpeg()})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    source = ZipSource(path)
    summary = run(memory, source)
    source.close()
    assert summary.skipped == {"cannot be unpacked": 1, "name climbs out of the archive": 1}
    assert summary.sent == 2


def test_large_objects_of_a_bucket_are_pointed_to(memory, s3_moto):
    fill(s3_moto, {"in/small.jpg": jpeg(1), "in/large.jpg": jpeg(2, size=300)})
    source = BucketSource(f"s3://{s3_moto.name}/in", settings_for(s3_moto))
    assert run(memory, source, inline_limit=2000).sent == 2
    large, small = sorted((upload.content for upload in sent(memory)), key=lambda content: isinstance(content, bytes))
    assert small == jpeg(1)
    assert isinstance(large, ImageClaim)
    assert (large.uri, large.size) == (f"s3://{s3_moto.name}/in/large.jpg", len(jpeg(2, size=300)))


def test_objects_that_go_away_between_listing_and_reading_are_counted(memory, s3_moto):
    fill(s3_moto, {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    client = s3_moto.client()
    source = BucketSource(f"s3://{s3_moto.name}", settings_for(s3_moto))
    summary = run(memory, source, on_progress=lambda _: client.delete_object(Bucket=s3_moto.name, Key="b.jpg"))
    client.close()
    assert (summary.sent, summary.skipped) == (1, {"gone before it was read": 1})


def test_a_journal_is_for_one_source(pictures, tmp_path):
    state = tmp_path / "state.jsonl"
    Journal(state, "one").close()
    with pytest.raises(ConfigurationError, match="belongs to one, not two"):
        Journal(state, "two")
    state.write_text("something else\n")
    with pytest.raises(ConfigurationError, match="no journal"):
        Journal(state, "one")
    state.write_text(json.dumps({"format": "veristream.backfill.v1", "source": "one"}) + "\n[1]\n")
    with pytest.raises(ConfigurationError, match=r"state\.jsonl:2"):
        Journal(state, "one")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        Journal(tmp_path / "none" / "state.jsonl", "one")


def test_settings_name_the_bucket_keys():
    assert BucketSource("s3://b/p/", BlobSettings()).name == "s3://b/p"
