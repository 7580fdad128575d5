import gzip
import hashlib
import json

import pytest

from models.dataset.checking import check
from models.dataset.listing import manifest_of, pack, unpack, verify
from models.dataset.policy import Policy
from models.evaluation.pictures import index
from stream.errors import ConfigurationError
from tests.models.dataset.made import encoded, files, image
from tests.models.evaluation.collections import folder, zipped


@pytest.fixture
def listed(tmp_path):
    dataset = check(index([zipped(tmp_path / "data.zip", files())]), Policy())
    path = tmp_path / "list.gz"
    path.write_bytes(pack(dataset.manifest, dataset.rows))
    return path


def test_untouched_pictures_are_verified_from_a_folder_as_well(listed, tmp_path):
    manifest, rows = unpack(listed)
    for path in (tmp_path / "data.zip", folder(tmp_path / "elsewhere" / "data.zip", files())):
        found = verify(rows, index([path]))
        assert found.whole
        assert (found.pictures, found.moved, found.added) == (manifest.pictures, (), 0)


def test_missing_changed_moved_and_unknown_pictures_are_told(listed, tmp_path):
    content = files()
    del content["real/one/00.jpg"]
    content["real/one/01.jpg"] = encoded(image(1))[:-20] + bytes(20)
    content["real/one/new-name.jpg"] = content.pop("real/one/02.jpg")
    found = verify(unpack(listed)[1], index([zipped(tmp_path / "data.zip", content)]))
    assert not found.whole
    assert found.missing == ("data.zip: real/one/00.jpg",)
    assert found.changed == ("data.zip: real/one/01.jpg",)
    assert found.moved == ("data.zip: real/one/02.jpg",)
    assert found.added == 1


def test_a_manifest_is_read_alone_and_from_the_head_of_a_list(listed, tmp_path):
    manifest, _ = unpack(listed)
    (tmp_path / "data.json").write_bytes(manifest.to_bytes())
    assert manifest_of(tmp_path / "data.json") == manifest_of(listed) == manifest
    assert manifest_of(listed).digest == manifest.digest


def test_a_changed_list_is_refused(listed):
    text = gzip.decompress(listed.read_bytes()).replace(b"real/one/00.jpg", b"real/one/99.jpg")
    listed.write_bytes(gzip.compress(text))
    with pytest.raises(ConfigurationError, match="has changed"):
        unpack(listed)


@pytest.mark.parametrize("broken", [b"", b"no list", b"\x1f\x8b no", gzip.compress(b"{}\n", mtime=0), b'{"format": 2}'])
def test_what_is_no_list_and_no_manifest_is_refused(tmp_path, broken):
    path = tmp_path / "list.gz"
    path.write_bytes(broken)
    with pytest.raises(ConfigurationError):
        manifest_of(path)
    with pytest.raises(ConfigurationError):
        unpack(path)


def test_a_cut_list_and_a_missing_one_are_refused(listed, tmp_path):
    listed.write_bytes(listed.read_bytes()[:-30])
    for path in (listed, tmp_path / "none.gz"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            unpack(path)


def test_a_row_that_is_no_row_is_refused(listed):
    manifest, _ = unpack(listed)
    body = json.dumps({"path": "x"}).encode() + b"\n"
    forged = manifest.model_copy(update={"listing": hashlib.sha256(body).hexdigest()})
    listed.write_bytes(pack(forged, body))
    with pytest.raises(ConfigurationError, match="A row of the list cannot be read"):
        unpack(listed)
