"""What a session needs to be quick: a bundle of a few nodes, and small pictures."""

import io
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.models.tiny import tiny_bundle


def picture(folder: Path, name: str, low: int, high: int) -> None:
    """Writes a picture of coloured blocks whose values lie between two bounds."""
    choose = random.Random(f"{folder.name}/{name}")
    blocks = Image.new("RGB", (8, 8))
    blocks.putdata([tuple(choose.randint(low, high) for _ in range(3)) for _ in range(64)])
    file = io.BytesIO()
    blocks.resize((96, 80)).save(file, "JPEG", quality=90)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(file.getvalue())


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark photographs and bright machine-made pictures, which the tiny bundle tells apart."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        picture(folder / "real" / "camera", f"{number}.jpg", 0, 120)
        picture(folder / "fake" / "nearest", f"{number}.jpg", 140, 255)
    return folder


@pytest.fixture
def small_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny bundle as the one that workers load."""
    path = tmp_path / "bundle.tar"
    path.write_bytes(tiny_bundle().pack())
    monkeypatch.setenv("VERISTREAM_WORKER__BUNDLE", str(path))
    return path


@pytest.fixture
def private_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of its own for everything a session starts, so that a stray file shows."""
    # Not below tmp_path: a Unix socket's path may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="vs-") as parent:
        folder = Path(parent) / "t"
        folder.mkdir()
        monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.setenv("TMPDIR", str(folder))
        yield folder
