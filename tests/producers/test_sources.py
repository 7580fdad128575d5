import struct
import zipfile
from pathlib import Path

import pytest

from producers.sources import BucketSource, Entry, FolderSource, Refused, ZipSource, open_source
from stream.errors import BlobCorrupt, BlobNotFound, ConfigurationError, ImageTooLarge
from stream.settings import BlobSettings
from tests.producers.pictures import jpeg


def entries(source):
    return [entry for entry in source.entries() if isinstance(entry, Entry)]


def refused(source):
    return {entry.path: entry.reason for entry in source.entries() if isinstance(entry, Refused)}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_a_folder_is_walked_in_order_and_links_are_refused(tmp_path):
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(jpeg())
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "b" / "2.jpg").write_bytes(b"22")
    (root / "a.jpg").write_bytes(b"1")
    (root / "link.jpg").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    source = FolderSource(root)
    assert [(entry.path, entry.size) for entry in entries(source)] == [("a.jpg", 1), ("b/2.jpg", 2)]
    assert refused(source) == {"link.jpg": "link or special file"}
    assert source.count() == 3
    assert source.read(entries(source)[1], limit=2) == b"22"
    assert source.uri(entries(source)[0]) is None


def test_a_file_that_went_away_or_grew_is_told(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"123")
    source = FolderSource(tmp_path)
    (entry,) = entries(source)
    with pytest.raises(ImageTooLarge):
        source.read(entry, limit=2)
    path.unlink()
    with pytest.raises(BlobNotFound):
        source.read(entry, limit=10)


def test_a_changed_file_has_another_version(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"123")
    (before,) = entries(FolderSource(tmp_path))
    path.write_bytes(b"124")
    (after,) = entries(FolderSource(tmp_path))
    assert before != after


def test_zip_entries_that_climb_out_are_refused(tmp_path):
    names = {"ok/a.jpg": jpeg(), "../evil.jpg": jpeg(), "/root.jpg": jpeg(), "a/../../b.jpg": jpeg(), "C:x.jpg": jpeg()}
    path = make_zip(tmp_path / "a.zip", names)
    source = ZipSource(path)
    assert [entry.path for entry in entries(source)] == ["ok/a.jpg"]
    assert set(refused(source)) == set(names) - {"ok/a.jpg"}
    assert source.count() == 5
    assert source.read(entries(source)[0], limit=10_000) == jpeg()
    source.close()


def test_a_zip_bomb_is_cut_off_at_the_limit(tmp_path):
    path = make_zip(tmp_path / "bomb.zip", {"bomb.jpg": bytes(5_000_000)})
    assert path.stat().st_size < 10_000
    source = ZipSource(path)
    with pytest.raises(ImageTooLarge):
        source.read(entries(source)[0], limit=100_000)
    source.close()


def test_a_zip_that_lies_about_a_size_yields_no_more_than_it_declares(tmp_path):
    path = make_zip(tmp_path / "liar.zip", {"liar.jpg": bytes(100_000)})
    data = path.read_bytes()
    real, small = struct.pack("<L", 100_000), struct.pack("<L", 100)
    path.write_bytes(data.replace(real, small))
    source = ZipSource(path)
    with pytest.raises(BlobCorrupt, match=r"liar\.jpg"):
        source.read(entries(source)[0], limit=1_000)
    source.close()


def test_overlapping_zip_entries_are_refused_at_once(tmp_path):
    path = make_zip(tmp_path / "overlap.zip", {"a.jpg": jpeg(size=200)})
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<L", data, end + 16)[0]
    directory = data[start:end] * 3
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, len(directory), start, 0)
    path.write_bytes(data[:start] + directory + tail)
    with pytest.raises(BlobCorrupt, match="zip bomb"):
        ZipSource(path)


def test_an_encrypted_entry_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": jpeg()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    source = ZipSource(path)
    assert refused(source) == {"a.jpg": "encrypted"}
    source.close()


def test_damage_in_a_zip_is_told(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": jpeg(size=100)})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    source = ZipSource(path)
    with pytest.raises(BlobCorrupt):
        source.read(entries(source)[0], limit=10_000)
    source.close()
    path.write_bytes(b"no zip at all")
    with pytest.raises(BlobCorrupt, match="not a zip"):
        ZipSource(path)
    with pytest.raises(BlobNotFound):
        ZipSource(tmp_path / "none.zip")


def settings_for(bucket):
    return BlobSettings(s3_endpoint=bucket.endpoint, s3_access_key=bucket.access_key, s3_secret_key=bucket.secret_key)


def fill(bucket, objects):
    client = bucket.client()
    for key, data in objects.items():
        client.put_object(Bucket=bucket.name, Key=key, Body=data)
    client.close()


@pytest.fixture(params=["s3_moto", pytest.param("s3_server", marks=pytest.mark.s3)])
def bucket(request):
    return request.getfixturevalue(request.param)


def test_a_prefix_of_a_bucket(bucket):
    fill(bucket, {"in/a.jpg": jpeg(1), "in/deep/b.jpg": jpeg(2), "out/c.jpg": jpeg(3)})
    source = open_source(f"s3://{bucket.name}/in/", settings_for(bucket))
    found = entries(source)
    assert [entry.path for entry in found] == ["in/a.jpg", "in/deep/b.jpg"]
    assert source.count() is None
    assert source.read(found[1], limit=100_000) == jpeg(2)
    assert source.uri(found[1]) == f"s3://{bucket.name}/in/deep/b.jpg"
    with pytest.raises(ImageTooLarge):
        source.read(found[0], limit=10)
    source.close()


def test_more_objects_than_fit_a_page(s3_moto):
    fill(s3_moto, {f"{number:04}.jpg": b"x" for number in range(1003)})
    assert len(entries(BucketSource(f"s3://{s3_moto.name}", settings_for(s3_moto)))) == 1003


def test_a_bucket_that_is_not_there(s3_moto):
    with pytest.raises(BlobNotFound):
        list(BucketSource("s3://elsewhere/in", settings_for(s3_moto)).entries())


def test_a_source_that_is_none(tmp_path):
    with pytest.raises(ConfigurationError, match="folder, a zip, or s3://"):
        open_source(str(tmp_path / "nothing"), BlobSettings())
    with pytest.raises(ConfigurationError, match="names no bucket"):
        open_source("s3://", BlobSettings())
    make_zip(tmp_path / "a.zip", {}).rename(tmp_path / "archive")
    assert isinstance(open_source(str(tmp_path / "archive"), BlobSettings()), ZipSource)
    assert isinstance(open_source(str(tmp_path), BlobSettings()), FolderSource)
