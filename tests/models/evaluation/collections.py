"""Labelled pictures made on the spot: the tiny bundle calls what is bright machine-made."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SOURCES = {"real/north": 6, "real/south": 9, "fake/bright": 7, "fake/north": 5}


def picture(seed: int, level: float, *, side: int = 48, kind: str = "JPEG") -> bytes:
    """Noise around a grey level of 0 to 1, as a file."""
    rng = np.random.default_rng(seed)
    pixels = (level * 255 + rng.normal(0, 12, (side, side, 3))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=90)
    return buffer.getvalue()


def files(sources: dict[str, int] = SOURCES) -> dict[str, bytes]:
    """Files by path; the levels of both classes overlap."""
    made = {}
    for place, (source, count) in enumerate(sources.items()):
        centre = 0.62 if source.startswith("fake") else 0.4
        for number in range(count):
            level = centre + 0.4 * (number / max(count - 1, 1) - 0.5)
            made[f"{source}/{number:02d}.jpg"] = picture(100 * place + number, level)
    return made


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    """The files as a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def folder(path: Path, content: dict[str, bytes]) -> Path:
    """The files as a folder."""
    for name, data in content.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path
