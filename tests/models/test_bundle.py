import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from onnx.external_data_helper import convert_model_to_external_data

from models import bundle as bundle_module
from models.bundle import Bundle
from models.manifest import CALIBRATION, CARD, MANIFEST, MODEL, REFERENCE, Manifest, sha256
from stream.errors import BundleInvalid
from tests.models.tiny import CALIBRATED, tiny_bundle, tiny_files, tiny_graph, tiny_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Bundle.write(tmp_path / "tiny", tiny_manifest(), tiny_files())
    return tmp_path / "tiny"


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class TestRoundTrip:
    def test_a_written_folder_opens_as_the_same_bundle(self, folder):
        opened = Bundle.open(folder)
        assert opened == tiny_bundle()
        assert opened.calibration == CALIBRATED
        assert opened.manifest.metrics["clean"]["all"]["n"] == 10
        assert opened.model == tiny_files()[MODEL]

    def test_the_digest_is_that_of_the_manifests_bytes(self, folder):
        assert Bundle.open(folder).digest == sha256((folder / MANIFEST).read_bytes())

    def test_packing_is_deterministic_and_opens_from_bytes_and_file(self, folder, tmp_path):
        opened = Bundle.open(folder)
        packed = opened.pack()
        assert packed == tiny_bundle().pack()
        assert Bundle.unpack(packed, digest=opened.digest) == opened
        (tmp_path / "tiny.tar").write_bytes(packed)
        assert Bundle.open(tmp_path / "tiny.tar") == opened
        (tmp_path / "tiny.tgz").write_bytes(gzip.compress(packed))
        assert Bundle.open(str(tmp_path / "tiny.tgz")) == opened

    def test_a_tar_made_by_others_opens(self, folder):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for path in folder.iterdir():
                tar.add(path, arcname=path.name)
        assert Bundle.unpack(buffer.getvalue()) == Bundle.open(folder)

    def test_a_folder_named_by_its_digest(self, tmp_path):
        made = tiny_bundle()
        made.save(tmp_path / "bundles" / made.digest)
        assert Bundle.open(tmp_path / "bundles" / made.digest) == made

    def test_fields_of_a_later_release_are_kept(self):
        later = tiny_manifest(hardware="one core")
        made = Bundle.build(later, tiny_files())
        assert b'"hardware": "one core"' in Bundle.unpack(made.pack()).files[MANIFEST]

    def test_files_cannot_be_changed_in_memory(self):
        with pytest.raises(TypeError):
            tiny_bundle().files[MODEL] = b""


class TestWriting:
    def test_nothing_is_written_over(self, folder):
        with pytest.raises(BundleInvalid, match="something in the bundle's place"):
            Bundle.write(folder, tiny_manifest(version="2"), tiny_files())
        assert Bundle.open(folder).manifest.version == "1"

    def test_a_refused_bundle_leaves_nothing_behind(self, tmp_path):
        with pytest.raises(BundleInvalid, match="required and not listed"):
            Bundle.write(tmp_path / "new", tiny_manifest(), {MODEL: tiny_files()[MODEL]})
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_write_leaves_nothing_behind(self, tmp_path, monkeypatch):
        def full(path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(bundle_module, "_write_through", full)
        with pytest.raises(BundleInvalid, match="No space left"):
            Bundle.write(tmp_path / "new", tiny_manifest(), tiny_files())
        assert list(tmp_path.iterdir()) == []

    def test_files_can_be_read_by_other_users(self, folder):
        assert folder.stat().st_mode & 0o777 == 0o755


class TestRefusals:
    @pytest.mark.parametrize("name", [MODEL, CALIBRATION, CARD])
    def test_a_changed_file(self, folder, name):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        with pytest.raises(BundleInvalid, match=f"{name} has changed"):
            Bundle.open(folder)

    @pytest.mark.parametrize("name", [MODEL, CALIBRATION, CARD, MANIFEST])
    def test_a_missing_file(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(BundleInvalid, match=f"{name}.*not there|there is no {name}"):
            Bundle.open(folder)

    def test_a_file_too_many(self, folder):
        (folder / "extra.bin").write_bytes(b"x")
        with pytest.raises(BundleInvalid, match=r"'extra\.bin' is there and not listed"):
            Bundle.open(folder)

    def test_a_file_of_another_kind(self):
        with pytest.raises(BundleInvalid, match=r"'weights\.bin' does not belong"):
            tiny_bundle(extra={"weights.bin": b"x"})

    def test_a_subfolder_or_a_link(self, folder, tmp_path):
        (folder / "inner").mkdir()
        with pytest.raises(BundleInvalid, match="'inner' is not a plain file"):
            Bundle.open(folder)
        (folder / "inner").rmdir()
        (tmp_path / "elsewhere").write_bytes((folder / CARD).read_bytes())
        (folder / CARD).unlink()
        (folder / CARD).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BundleInvalid, match=f"'{CARD}' is not a plain file"):
            Bundle.open(folder)

    def test_another_digest_than_asked_for(self, folder):
        with pytest.raises(BundleInvalid, match="not 0000"):
            Bundle.open(folder, digest="0" * 64)
        with pytest.raises(BundleInvalid, match="not 0000"):
            Bundle.unpack(tiny_bundle().pack(), digest="0" * 64)

    def test_a_folder_that_carries_another_bundles_name(self, tmp_path):
        tiny_bundle().save(tmp_path / ("f" * 64))
        with pytest.raises(BundleInvalid, match="not ffff"):
            Bundle.open(tmp_path / ("f" * 64))

    def test_a_place_with_nothing_in_it(self, tmp_path):
        with pytest.raises(BundleInvalid, match="No such file"):
            Bundle.open(tmp_path / "nowhere")

    def test_weights_in_another_file(self):
        model = tiny_graph()
        convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
        with pytest.raises(BundleInvalid, match="in another file"):
            tiny_bundle(model)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"format": 2}, "format"),
            ({"preprocessing": "resize-224"}, "preprocessing"),
            ({"name": "../x"}, "name"),
            ({"files": {MODEL: "short"}}, "files"),
            ({"created": "2026-01-01T00:00:00"}, "created"),
        ],
    )
    def test_a_manifest_this_release_does_not_read(self, folder, changes, says):
        content = json.loads((folder / MANIFEST).read_bytes()) | changes
        (folder / MANIFEST).write_text(json.dumps(content))
        with pytest.raises(BundleInvalid, match=says):
            Bundle.open(folder)

    def test_a_manifest_that_is_not_json(self):
        with pytest.raises(BundleInvalid, match="file: Invalid JSON"):
            Manifest.from_bytes(b"{")

    def test_a_bundle_beyond_the_size_limit(self, folder, tmp_path, monkeypatch):
        packed = tmp_path / "tiny.tar"
        packed.write_bytes(Bundle.open(folder).pack())
        monkeypatch.setattr(bundle_module, "MAX_BYTES", 1000)
        for place in (folder, packed):
            with pytest.raises(BundleInvalid, match="larger than"):
                Bundle.open(place)

    def test_a_bundle_that_could_not_be_opened_is_not_written(self, tmp_path, monkeypatch):
        monkeypatch.setattr(bundle_module, "MAX_BYTES", 1000)
        with pytest.raises(BundleInvalid, match="larger than"):
            Bundle.write(tmp_path / "new", tiny_manifest(), tiny_files())
        assert list(tmp_path.iterdir()) == []

    def test_a_name_that_is_none_is_answered_with_those_that_ship(self):
        with pytest.raises(BundleInvalid, match="there is none of that name") as raised:
            Bundle.named("defualt")
        assert "cifake-32, default, demo" in raised.value.remedy


class TestTars:
    @pytest.mark.parametrize("name", ["../manifest.json", "/etc/passwd", "tiny/manifest.json", "..\\manifest.json"])
    def test_paths(self, name):
        with pytest.raises(BundleInvalid, match="is a path"):
            Bundle.unpack(tar_of((tarfile.TarInfo(name), b"{}")))

    @pytest.mark.parametrize(
        "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.CONTTYPE]
    )
    def test_anything_but_plain_files(self, kind):
        member = tarfile.TarInfo(MODEL)
        member.type, member.linkname = kind, "/etc/passwd"
        with pytest.raises(BundleInvalid, match="not a plain file"):
            Bundle.unpack(tar_of((member, b"")))

    def test_a_file_that_is_there_twice(self):
        with pytest.raises(BundleInvalid, match="twice"):
            Bundle.unpack(tar_of((tarfile.TarInfo(MODEL), b"a"), (tarfile.TarInfo(MODEL), b"b")))

    @pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100, b"\x1f\x8bbroken"])
    def test_what_is_no_tar(self, data):
        with pytest.raises(BundleInvalid):
            Bundle.unpack(data)

    def test_every_cut_of_a_tar_is_refused(self):
        packed = tiny_bundle().pack()
        end = packed.rstrip(b"\0")
        for length in range(0, len(end), 97):
            with pytest.raises(BundleInvalid):
                Bundle.unpack(packed[:length])

    def test_a_cut_gzip(self):
        with pytest.raises(BundleInvalid, match="too early"):
            Bundle.unpack(gzip.compress(tiny_bundle().pack())[:-9])

    def test_a_gzip_bomb(self, monkeypatch):
        monkeypatch.setattr(bundle_module, "MAX_BYTES", 1 << 20)
        with pytest.raises(BundleInvalid, match="larger than 1 MiB"):
            Bundle.unpack(gzip.compress(b"\0" * (8 << 20)))


class TestReference:
    def test_arrays_come_back_by_name(self):
        buffer = io.BytesIO()
        np.savez(buffer, embeddings=np.arange(6, dtype=np.float16).reshape(2, 3), seed=np.int64(7))
        arrays = tiny_bundle(extra={REFERENCE: buffer.getvalue()}).reference()
        assert arrays["embeddings"].shape == (2, 3)
        assert arrays["seed"] == 7

    def test_a_bundle_need_not_have_one(self):
        assert tiny_bundle().reference() == {}

    def test_a_pickle_is_never_loaded(self):
        buffer = io.BytesIO()
        np.savez(buffer, evil=np.array([print], dtype=object))
        lone = io.BytesIO()
        np.save(lone, np.arange(3))
        for data in (buffer.getvalue(), lone.getvalue(), pickle.dumps(print), b"", b"PK\x03\x04broken"):
            with pytest.raises(BundleInvalid, match="not a set of plain arrays"):
                tiny_bundle(extra={REFERENCE: data}).reference()
