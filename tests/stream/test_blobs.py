import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.blobs import open_store, redeem
from stream.doubles import MemoryBlobs
from stream.errors import (
    BlobChanged,
    BlobCorrupt,
    BlobForbidden,
    BlobNotFound,
    BlobUnavailable,
    ConfigurationError,
    ImageTooLarge,
    VeristreamError,
)
from stream.events import ImageClaim
from stream.settings import BlobSettings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"meow")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "cat.jpg").write_bytes(b"secret")
    return folder


@pytest.fixture
def folders(root: Path):
    return open_store(BlobSettings(allowed_roots=(root,)))


def test_a_file_under_an_allowed_root_is_read(folders, root):
    assert folders.read(f"file://{root}/cat.jpg", limit=4) == b"meow"
    assert folders.read(f"FILE://{root}/c%61t.jpg", limit=100) == b"meow"


@pytest.mark.parametrize(
    "path",
    [
        "{root}/../secret.jpg",
        "{root}/%2e%2e/secret.jpg",
        "{root}/%2E%2E%2Fsecret.jpg",
        "{root}/x/../../secret.jpg",
        "{root}/x/../cat.jpg",
        "{root}-not/cat.jpg",
        "{root}",
        "{root}/",
        "/etc/passwd",
        "/",
        "",
        "{root}/cat.jpg%00.png",
        "{root}/cat.jpg?v=1",
        "{root}/cat.jpg#x",
    ],
)
def test_what_is_outside_the_roots_is_refused(folders, root, path):
    with pytest.raises(BlobForbidden):
        folders.read("file://" + path.format(root=root), limit=100)


@pytest.mark.parametrize("uri", ["file://host/etc/passwd", "file:cat.jpg", "file://[/x", "http://x/y", "cat.jpg", ""])
def test_what_is_no_local_file_uri_is_refused(folders, uri):
    with pytest.raises(BlobForbidden):
        folders.read(uri, limit=100)


@given(tail=st.text(st.sampled_from("./%2eE5c\\ab"), max_size=30))
def test_no_spelling_leads_out_of_the_roots(tmp_path_factory, tail):
    base = tmp_path_factory.getbasetemp() / "spelling"
    (base / "in").mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        (base / name).write_bytes(b"secret")
    store = open_store(BlobSettings(allowed_roots=(base / "in",)))
    with pytest.raises((BlobForbidden, BlobNotFound)):
        store.read(f"file://{base}/in/{tail}", limit=100)


def test_links_that_lead_out_are_refused_and_links_within_are_followed(folders, root):
    (root / "out.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "up").symlink_to(root.parent)
    (root / "loop").symlink_to(root / "loop")
    (root / "within.jpg").symlink_to(root / "cat.jpg")
    for name in ("out.jpg", "up/secret.jpg", "loop"):
        with pytest.raises(BlobForbidden):
            folders.read(f"file://{root}/{name}", limit=100)
    assert folders.read(f"file://{root}/within.jpg", limit=100) == b"meow"


@pytest.mark.parametrize("swapped", ["cat.jpg", "inner"])
def test_a_link_put_in_place_after_the_check_leads_nowhere(folders, root, monkeypatch, swapped):
    (root / "inner").mkdir()
    (root / "inner" / "dog.jpg").write_bytes(b"woof")
    target = root / "cat.jpg" if swapped == "cat.jpg" else root / "inner" / "dog.jpg"
    really_open = os.open

    def swap_then_open(*args, **kwargs):
        victim = root / swapped
        if not victim.is_symlink():
            victim.rename(root / "moved")
            victim.symlink_to(root.parent / "secret.jpg" if swapped == "cat.jpg" else root.parent / "allowed-not")
        return really_open(*args, **kwargs)

    monkeypatch.setattr(os, "open", swap_then_open)
    with pytest.raises((BlobForbidden, BlobNotFound)):
        folders.read(f"file://{target}", limit=100)


def test_a_root_that_is_itself_a_link_works(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    store = open_store(BlobSettings(allowed_roots=(tmp_path / "alias",)))
    assert store.read(f"file://{tmp_path}/alias/cat.jpg", limit=100) == b"meow"


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(folders, root):
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(BlobForbidden, match=r"regular|directory"):
            folders.read(f"file://{root}/{name}", limit=100)


def test_a_missing_file_and_a_large_one(folders, root):
    with pytest.raises(BlobNotFound):
        folders.read(f"file://{root}/no.jpg", limit=100)
    with pytest.raises(BlobNotFound):
        folders.read(f"file://{root}/cat.jpg/no.jpg", limit=100)
    with pytest.raises(BlobForbidden):
        folders.read(f"file://{root.parent}/no.jpg", limit=100)
    with pytest.raises(ImageTooLarge, match="4 bytes, over the limit of 3"):
        folders.read(f"file://{root}/cat.jpg", limit=3)


def test_a_failing_file_system_may_be_asked_again(folders, root, monkeypatch):
    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(BlobUnavailable, match="Input/output error") as caught:
        folders.read(f"file://{root}/cat.jpg", limit=100)
    assert caught.value.retryable


def test_a_folder_store_writes_whole_files_and_reads_them_back(tmp_path):
    store = open_store(BlobSettings(store=f"file://{tmp_path}/my%20store"))
    uri = store.write("a b/c#1.png", b"12345", media_type="image/png")
    assert uri == f"file://{tmp_path}/my%20store/a%20b/c%231.png"
    assert store.read(uri, limit=5) == b"12345"
    store.write("a b/c#1.png", b"6", media_type="image/png")
    assert store.read(uri, limit=5) == b"6"
    assert [p.name for p in (tmp_path / "my store").rglob("*") if p.is_file()] == ["c#1.png"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/../b", "/etc/x", "", "."])
def test_a_name_that_leaves_the_store_is_refused(tmp_path, name):
    store = open_store(BlobSettings(store=f"file://{tmp_path}/store"))
    with pytest.raises(BlobForbidden):
        store.write(name, b"", media_type="image/png")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    store = open_store(BlobSettings(store=f"file://{tmp_path}/file"))
    with pytest.raises(BlobUnavailable, match="cannot be written"):
        store.write("a/b", b"", media_type="image/png")


def test_without_a_store_nothing_is_written(folders):
    with pytest.raises(ConfigurationError, match="no blob store is configured"):
        folders.write("x", b"", media_type="image/png")


@pytest.mark.parametrize("store", ["http://x/y", "/folder", "file://host/x", "s3://", "file:relative"])
def test_a_store_that_is_none_is_said_at_the_start(store):
    with pytest.raises(ConfigurationError, match="no blob store"):
        open_store(BlobSettings(store=store))


# S3: the same promises on moto, in this process, and on a real server.


@pytest.fixture(params=["moto", pytest.param("server", marks=pytest.mark.s3)])
def bucket(request):
    return request.getfixturevalue("s3_moto" if request.param == "moto" else "s3_server")


def s3_settings(bucket, **changes) -> BlobSettings:
    given = {
        "s3_endpoint": bucket.endpoint,
        "s3_access_key": bucket.access_key,
        "s3_secret_key": bucket.secret_key,
        "allowed_buckets": (bucket.name,),
        "timeout_s": 5.0,
    }
    return BlobSettings(**{**given, **changes})


def test_s3_writes_under_its_prefix_and_reads_back(bucket):
    store = open_store(s3_settings(bucket, store=f"s3://{bucket.name}/some/prefix", allowed_buckets=()))
    uri = store.write("a/b c?#.png", b"12345", media_type="image/png")
    assert uri == f"s3://{bucket.name}/some/prefix/a/b c?#.png"
    assert store.read(uri, limit=5) == b"12345"
    with pytest.raises(ImageTooLarge, match="5 bytes, over the limit of 4"):
        store.read(uri, limit=4)
    client = bucket.client()
    assert client.head_object(Bucket=bucket.name, Key="some/prefix/a/b c?#.png")["ContentType"] == "image/png"
    client.close()
    at_root = open_store(s3_settings(bucket, store=f"s3://{bucket.name}"))
    assert at_root.write("x", b"", media_type="image/png") == f"s3://{bucket.name}/x"


def test_s3_says_what_is_missing_and_what_is_not_allowed(bucket):
    store = open_store(s3_settings(bucket, allowed_buckets=(bucket.name, "no-such-bucket", "Bad_Bucket!")))
    for uri in (f"s3://{bucket.name}/no/such/key", "s3://no-such-bucket/key"):
        with pytest.raises(BlobNotFound, match="no such object"):
            store.read(uri, limit=5)
    for uri in (
        "s3://other/key",
        "s3:///key",
        f"s3://{bucket.name}",
        f"s3://{bucket.name}/",
        f"s3://{bucket.name}/a/../b",
        "s3://Bad_Bucket!/key",
    ):
        with pytest.raises(BlobForbidden):
            store.read(uri, limit=5)
    with pytest.raises(BlobForbidden, match="reading only"):
        store._readers["s3"].write("x", b"", media_type="image/png")
    writer = open_store(s3_settings(bucket, store=f"s3://{bucket.name}/p"))
    for name in ("../x", "a//b", "", "/x"):
        with pytest.raises(BlobForbidden, match="leaves the store's prefix"):
            writer.write(name, b"", media_type="image/png")


@pytest.mark.s3
def test_s3_refuses_wrong_keys(s3_server):
    store = open_store(s3_settings(s3_server, s3_secret_key="wrong"))
    with pytest.raises(BlobForbidden, match="S3 refuses"):
        store.read(f"s3://{s3_server.name}/key", limit=5)


def test_s3_away_may_be_asked_again():
    settings = BlobSettings(
        s3_endpoint="http://127.0.0.1:1", s3_access_key="a", s3_secret_key="b", allowed_buckets=("abc",), timeout_s=1
    )
    with pytest.raises(BlobUnavailable, match="does not answer") as caught:
        open_store(settings).read("s3://abc/key", limit=5)
    assert caught.value.retryable


def test_s3_without_keys_names_the_settings(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    settings = BlobSettings(s3_endpoint="http://127.0.0.1:1", allowed_buckets=("abc",))
    with pytest.raises(ConfigurationError, match="VERISTREAM_BLOBS__S3_ACCESS_KEY"):
        open_store(settings).read("s3://abc/key", limit=5)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "InternalError", BlobUnavailable),
        (503, "SlowDown", BlobUnavailable),
        (400, "RequestTimeout", BlobUnavailable),
        (403, "AccessDenied", BlobForbidden),
        (404, "NoSuchKey", BlobNotFound),
    ],
)
def test_s3_answers_become_errors_that_say_whether_to_ask_again(httpd, status, code, expected):
    httpd.answer = (status, f"<Error><Code>{code}</Code></Error>".encode())
    settings = BlobSettings(
        s3_endpoint=httpd.address, s3_access_key="a", s3_secret_key="b", allowed_buckets=("abc",), timeout_s=2
    )
    with pytest.raises(expected, match=code):
        open_store(settings).read("s3://abc/key", limit=5)


def test_importing_blobs_does_not_import_boto3():
    program = "import sys, stream.blobs; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Claim checks.


@pytest.fixture
def memory() -> MemoryBlobs:
    blobs = MemoryBlobs()
    blobs.write("cat.jpg", b"meow", media_type="image/jpeg")
    return blobs


def claim(**changes) -> ImageClaim:
    given = {"uri": "memory://cat.jpg", "sha256": hashlib.sha256(b"meow").hexdigest(), "size": 4}
    return ImageClaim(**{**given, "media_type": "image/jpeg", **changes})


def test_a_claim_is_redeemed(memory):
    assert redeem(claim(), memory, 4) == b"meow"


@pytest.mark.parametrize(
    ("changes", "limit", "error"),
    [
        ({"size": 5}, 10, BlobCorrupt),
        ({"size": 3}, 10, BlobCorrupt),
        ({"sha256": "0" * 64}, 10, BlobCorrupt),
        ({"size": 11}, 10, ImageTooLarge),
        ({"size": 2}, 3, ImageTooLarge),
        ({"uri": "memory://dog.jpg"}, 10, BlobNotFound),
        ({"uri": "s3://b/dog.jpg"}, 10, BlobForbidden),
    ],
)
def test_a_false_claim_is_not(memory, changes, limit, error):
    with pytest.raises(error) as caught:
        redeem(claim(**changes), memory, limit)
    assert isinstance(caught.value, VeristreamError)
    assert caught.value.where


# Conditional puts: the same promise of every store.


@pytest.fixture(params=["folder", "memory", "moto", pytest.param("server", marks=pytest.mark.s3)])
def versioned(request, tmp_path):
    if request.param == "folder":
        return open_store(BlobSettings(store=f"file://{tmp_path}/store"))
    if request.param == "memory":
        return MemoryBlobs()
    bucket = request.getfixturevalue("s3_moto" if request.param == "moto" else "s3_server")
    return open_store(s3_settings(bucket, store=f"s3://{bucket.name}/some", timeout_s=20.0))


def put(store, data: bytes, revision: str | None) -> str:
    return store.replace("a/slots.json", data, media_type="application/json", revision=revision)


def test_an_object_is_replaced_only_by_who_knows_its_revision(versioned):
    uri = versioned.uri("a/slots.json")
    with pytest.raises(BlobNotFound):
        versioned.revised(uri, limit=10)
    first = put(versioned, b"1", None)
    with pytest.raises(BlobChanged):
        put(versioned, b"2", None)
    found = versioned.revised(uri, limit=10)
    assert (found.data, found.revision) == (b"1", first)
    second = put(versioned, b"2", first)
    assert second != first
    with pytest.raises(BlobChanged):
        put(versioned, b"3", first)
    assert versioned.read(uri, limit=10) == b"2"
    assert versioned.write("a/slots.json", b"4", media_type="application/json") == uri
    with pytest.raises(BlobChanged):
        put(versioned, b"5", second)


def test_an_object_that_is_gone_is_another_revision(versioned):
    with pytest.raises(BlobChanged):
        put(versioned, b"1", '"0123456789abcdef0123456789abcdef"')
    with pytest.raises(BlobNotFound):
        versioned.read(versioned.uri("a/slots.json"), limit=10)


def test_what_lies_below_a_name_is_listed_and_removed(versioned):
    before = time.time()
    for name, data in (("a/b/1", b"1"), ("a/b/c/2", b"22"), ("a/bc/3", b"333")):
        versioned.write(name, data, media_type="image/png")
    found = {one.name: one for one in versioned.stored("a/b")}
    assert {name: one.size for name, one in found.items()} == {"a/b/1": 1, "a/b/c/2": 2}
    assert all(abs(one.modified - before) < 60 for one in found.values())
    versioned.remove("a/b/1")
    versioned.remove("a/b/1")
    assert [one.name for one in versioned.stored("a/b")] == ["a/b/c/2"]
    with pytest.raises(BlobNotFound):
        versioned.read(versioned.uri("a/b/1"), limit=10)
    assert not list(versioned.stored("nothing"))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", ""])
def test_what_is_outside_a_store_is_neither_listed_nor_removed(tmp_path, name):
    store = open_store(BlobSettings(store=f"file://{tmp_path}/store"))
    with pytest.raises(BlobForbidden):
        store.remove(name)
    with pytest.raises(BlobForbidden):
        list(store.stored(name))


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("versioned", ["folder", "memory", pytest.param("server", marks=pytest.mark.s3)], indirect=True)
def test_of_many_who_replace_at_once_one_wins(versioned, there):
    revision = put(versioned, b"before", None) if there else None
    begin = threading.Barrier(8)

    def race(number: int) -> bool:
        begin.wait()
        try:
            put(versioned, b"%d" % number, revision)
        except BlobChanged:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1
    assert versioned.read(versioned.uri("a/slots.json"), limit=10) == b"%d" % won.index(True)


def test_processes_exclude_each_other_in_a_folder(tmp_path):
    store = open_store(BlobSettings(store=f"file://{tmp_path}/store"))
    put(store, b"0", None)
    program = f"""
from stream.blobs import open_store
from stream.errors import BlobChanged
from stream.settings import BlobSettings
store = open_store(BlobSettings(store="file://{tmp_path}/store"))
done = 0
while done < 50:
    found = store.revised(store.uri("a/slots.json"), limit=10)
    try:
        store.replace("a/slots.json", b"%d" % (int(found.data) + 1), media_type="text/plain", revision=found.revision)
    except BlobChanged:
        continue
    done += 1
"""
    counters = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [counter.wait(60) for counter in counters] == [0, 0]
    assert store.read(store.uri("a/slots.json"), limit=10) == b"100"


def test_a_store_for_reading_only_names_and_replaces_nothing(folders):
    for call in (lambda: folders.uri("x"), lambda: put(folders, b"", None)):
        with pytest.raises(ConfigurationError, match="no blob store is configured"):
            call()


@pytest.mark.parametrize(("status", "code"), [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")])
def test_s3_says_in_two_ways_that_somebody_was_quicker(httpd, status, code):
    httpd.answer = (status, f"<Error><Code>{code}</Code></Error>".encode())
    settings = BlobSettings(
        s3_endpoint=httpd.address, s3_access_key="a", s3_secret_key="b", store="s3://abc", timeout_s=2
    )
    with pytest.raises(BlobChanged, match=code) as caught:
        put(open_store(settings), b"", "x")
    assert not caught.value.retryable
