"""`veristream models twins`: photographs and their machine-made twins, alike but for the decoder's trace."""

import csv
import io
import json
import subprocess
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from compose.cli import main
from models.evaluation.pictures import index
from models.reconstruction.twins import psnr
from tests.models.evaluation.collections import folder, picture, zipped
from tests.models.pictures import encoded, gradient


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine photographs of two sources and several sizes, one of them broken, and a machine-made picture."""
    content = {f"real/north/{n}.jpg": picture(n, 0.2 + n / 20, side=48 + n) for n in range(5)}
    content |= {f"real/south/{n}.png": encoded(gradient(90 + n, 70), "PNG") for n in range(3)}
    content["real/south/broken.jpg"] = b"\xff\xd8\xff broken"
    content["fake/other/0.jpg"] = picture(99, 0.5)
    table = ("file,stem,licence,original_width,original_height", "real/north/3.jpg,harbour,CC0,900,1200")
    content["metadata.csv"] = "\n".join(table).encode()
    return zipped(tmp_path / "photos.zip", content)


def run(photos: Path, *arguments: str, out: str = "twins.zip") -> int:
    return main(["models", "twins", "--data", str(photos), "--out", str(photos.with_name(out)), *arguments])


def opened(path: Path) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return list(csv.DictReader(io.StringIO(files.pop("metadata.csv").decode()))), files


def test_a_photograph_and_its_twins_differ_in_pixels_only(photos: Path) -> None:
    assert run(photos, "--per-picture", "3", "--side", "64") == 0
    rows, files = opened(photos.with_name("twins.zip"))
    assert {row["file"] for row in rows} == set(files)
    groups = defaultdict(list)
    for row in rows:
        groups[row["twin_of"], row["stem"]].append(row)
    assert len(groups) == 8
    for (source, _), group in groups.items():
        real, *made = group
        assert (real["label"], real["source"], real["generator"]) == ("real", source, "")
        assert [row["source"] for row in made] == [f"{source}-{row['generator']}" for row in made]
        assert len({row["generator"] for row in made}) == 3
        images = [Image.open(io.BytesIO(files[row["file"]])) for row in group]
        tables = [getattr(image, "quantization") for image in images]  # noqa: B009 - only a JPEG's class has it
        samplings = [JpegImagePlugin.get_sampling(image) for image in images]
        assert all(image.size == images[0].size for image in images)
        assert max(images[0].size) <= 64
        assert tables == tables[:1] * 4
        assert len(set(samplings)) == 1
        assert len({image.tobytes() for image in images}) == 4
    harbour = groups["north", "harbour"]
    assert {(row["licence"], row["original_width"]) for row in harbour} == {("CC0", "900")}
    assert {row["subsampling"] for row in rows} == {"4:4:4", "4:2:0"}


def test_stems_keep_a_picture_and_its_twins_together(photos: Path) -> None:
    assert run(photos) == 0
    (made,) = index([photos.with_name("twins.zip")])
    stems = defaultdict(set)
    for item in made.items():
        stems[item.label].add((item.facts["twin_of"], item.stem))
    assert stems[0] == stems[1]


def test_threads_and_repetition_change_nothing_and_the_seed_does(photos: Path) -> None:
    for out, seed, threads in (("a", "1", "1"), ("b", "1", "3"), ("c", "2", "1")):
        assert run(photos, "--seed", seed, "--threads", threads, out=out) == 0
    first, again, other = (photos.with_name(name).read_bytes() for name in "abc")
    assert first == again != other


def test_the_report_counts_twins_and_says_how_close_they_are(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photos, "--families", "codebook, nearest", "--per-picture", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["photographs"] == 8
    assert found["twins"] == {"codebook": 8, "nearest": 8}
    assert found["psnr"]["codebook"] > found["psnr"]["nearest"] > 5
    assert found["unreadable"] == {"TruncatedImage": 1}


def test_what_cannot_be_made_is_refused_and_nothing_is_written(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_fakes = zipped(photos.with_name("fakes.zip"), {"fake/a/1.jpg": picture(1, 0.5)})
    broken = folder(photos.with_name("broken"), {"real/a/1.jpg": b"\xff\xd8\xff no"})
    before = sorted(photos.parent.rglob("*"))
    for words, data, *arguments in (
        ("no decoder family 'dream'", photos, "--families", "dream"),
        ("2 different twins", photos, "--families", "nearest", "--per-picture", "2"),
        ("Name each family once", photos, "--families", "nearest,nearest"),
        ("weights are missing", photos, "--families", "conv-shuffle", "--decoders", str(photos.parent)),
        ("no pictures under real/", only_fakes),
        ("no photograph can be decoded where: 1 TruncatedImage", broken),
        ("no file can be written", photos, "--out", str(photos.parent / "missing" / "x.zip")),
    ):
        assert main(["models", "twins", "--data", str(data), "--out", str(photos.with_name("o.zip")), *arguments]) == 2
        said = " ".join(capsys.readouterr().err.replace("(", "").replace(")", "").split())
        assert words in said, said
        assert sorted(photos.parent.rglob("*")) == before


def test_the_ratio_of_one_grey_level_is_known() -> None:
    flat = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(flat, flat + 1) == pytest.approx(48.13, abs=0.01)
    assert psnr(flat, flat) > 60


def test_making_twins_needs_no_torch() -> None:
    code = "import sys, models.reconstruction.twins; sys.exit(bool({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
