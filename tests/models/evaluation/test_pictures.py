import zipfile

import pytest

from models.evaluation.pictures import UNNAMED, index, sampled
from stream.errors import ConfigurationError
from tests.models.evaluation.collections import files, folder, zipped


def test_a_zip_and_a_folder_give_the_same_pictures(tmp_path):
    content = {**files(), "real/loose.png": b"one", "notes/real/x.jpg": b"no", "readme.txt": b"no", "top.jpg": b"no"}
    (packed,) = index([zipped(tmp_path / "a.zip", content)])
    (loose,) = index([folder(tmp_path / "a", content)])
    assert list(packed.items()) == list(loose.items())
    assert [entry.path for entry in packed.entries] == sorted(
        name for name in content if name.startswith(("real", "fake"))
    )
    assert next(item for item in packed.items() if item.data == b"one").source == f"real/{UNNAMED}"


def test_metadata_tells_stem_and_facts(tmp_path):
    table = b"file,label,stem,generator,original_width\nfake/one/1.jpg,fake,dog,Painter 3,\n"
    path = zipped(tmp_path / "a.zip", {"fake/one/1.jpg": b"x", "real/two/2.jpg": b"y", "metadata.csv": table})
    told, plain = next(iter(index([path]))).items()
    assert (told.stem, told.facts["generator"], "original_width" in told.facts) == ("dog", "Painter 3", False)
    assert (plain.stem, plain.facts) == ("2.jpg", {})


def test_samples_are_bounded_by_source_and_repeat_with_the_seed(tmp_path):
    content = files({"real/a": 20, "fake/b": 3})
    collections = index(
        [zipped(tmp_path / "a.zip", content), folder(tmp_path / "b", files({"real/a": 20, "fake/b": 1}))]
    )
    first, again, other = (
        [entry for part in sampled(collections, 5, seed=seed) for entry in part.entries] for seed in (1, 1, 2)
    )
    assert sum(entry.source == "real/a" for entry in first) == 5
    assert sum(entry.source == "fake/b" for entry in first) == 4
    assert first == again
    assert first != other


@pytest.mark.parametrize("content", [{}, {"cats/1.jpg": b"x"}, {"real/one/notes.txt": b"x"}])
def test_empty_and_unlabelled_collections_are_refused(tmp_path, content):
    (tmp_path / "folder").mkdir()
    for path in (zipped(tmp_path / "a.zip", content), folder(tmp_path / "folder", content)):
        with pytest.raises(ConfigurationError, match="no labelled pictures"):
            index([path])


@pytest.mark.parametrize(("there", "missing"), [("real", "fake"), ("fake", "real")])
def test_one_class_only_is_refused(tmp_path, there, missing):
    with pytest.raises(ConfigurationError, match=f"no pictures under {missing}/"):
        index([zipped(tmp_path / "a.zip", {f"{there}/one/1.jpg": b"x"})])


def test_missing_broken_and_wrongly_described_collections_are_refused(tmp_path):
    whole = zipped(tmp_path / "whole.zip", files()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.zip").write_bytes(b"not a zip")
    zipped(tmp_path / "latin.zip", {**files(), "metadata.csv": "file,stem\nreal/é,1\n".encode("latin-1")})
    for name in ("cut.zip", "no.zip", "latin.zip", "missing.zip"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            index([tmp_path / name])


def test_a_zip_that_is_broken_in_its_middle_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"real/a/1.jpg": b"x" * 500, "fake/a/1.jpg": b"y" * 500})
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("real/a/1.jpg").header_offset + 200
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    (collection,) = index([path])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(collection.items())
