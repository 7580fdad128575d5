"""Machine-made twins of photographs: equal in content, size and codec, so that only the decoder's trace differs.

What a detector learns from such a pair cannot be the subject, the camera or the file (B-Free, CVPR 2025). A photograph
and its twins are cut alike and encoded alike: quality and chroma subsampling are drawn once for all of them.

The zip is in ImageFolder layout: ``real/SOURCE/NUMBER.jpg`` and ``fake/SOURCE-FAMILY/NUMBER.jpg``. In its
``metadata.csv`` a photograph and its twins have one ``stem``, that of the photograph where it came from, and one
``twin_of``, its source; ``generator`` is the decoder family.
"""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.decode import Picture, decode
from models.evaluation.pictures import Collection, Item
from models.ordered import in_order
from models.reconstruction import families, reconstruct
from models.reconstruction.learned import WEIGHTS
from stream.errors import ConfigurationError, ImageError

SIDE = 512
_QUALITIES = (70, 97)
_SUBSAMPLING = {0: "4:4:4", 2: "4:2:0"}
_STILL = (1980, 1, 1, 0, 0, 0)
"""The zip's time stamps, fixed so that equal arguments give equal bytes."""
_COLUMNS = (
    "file", "label", "source", "stem", "twin_of", "generator", "original_format", "original_width", "original_height",
    "quality", "subsampling", "licence",
)  # fmt: skip

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plan:
    """How twins are made.

    ``families`` are drawn from, ``per_picture`` of them for every photograph; ``side`` is the most a picture keeps of
    each side (a cut at a drawn place, nothing is resized); ``weights`` the folder of the learned decoders.
    """

    families: tuple[str, ...]
    per_picture: int = 1
    side: int = SIDE
    seed: int = 0
    weights: Path = WEIGHTS

    def __post_init__(self) -> None:
        if unknown := [name for name in self.families if name not in families()]:
            raise ConfigurationError(
                f"there is no decoder family {unknown[0]!r}", remedy=f"Known families: {', '.join(families())}."
            )
        if len(set(self.families)) < max(len(self.families), self.per_picture):
            raise ConfigurationError(
                f"{self.per_picture} different twins of a picture cannot be made with {', '.join(self.families)}",
                remedy="Name each family once, and at least as many as --per-picture.",
            )


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: photographs, twins by family, their mean PSNR in dB, what could not be decoded by reason."""

    photographs: int
    twins: dict[str, int]
    psnr: dict[str, float]
    unreadable: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Group:
    """A photograph and its twins, encoded, or the reason why there are none."""

    item: Item
    failure: str = ""
    picture: Picture | None = None
    quality: int = 0
    subsampling: int = 0
    real: bytes = b""
    twins: tuple[tuple[str, bytes, float], ...] = ()


def write(
    collections: Sequence[Collection],
    path: Path,
    plan: Plan,
    *,
    threads: int = 1,
    advance: Callable[[int], None] = lambda step: None,
) -> Made:
    """Writes the photographs and their twins as an uncompressed zip, whole or not at all.

    Equal photographs and plans give equal bytes, whatever the number of threads.

    Args:
        collections: Photographs, from `models.evaluation.pictures.photographs`.
        path: The zip; replaced if it is there.
        plan: How.
        threads: That decode and reconstruct.
        advance: Is told after every photograph.

    Raises:
        ConfigurationError: No photograph can be decoded, one cannot be read any more, weights are missing, or the zip
            cannot be written.
    """
    items = (item for collection in collections for item in collection.items())
    numbers: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    quality: dict[str, list[float]] = defaultdict(list)
    rows: list[dict[str, str]] = []
    with _whole(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
        for group in in_order(lambda item: _group(item, plan), items, threads=threads):
            advance(1)
            if group.picture is None:
                unreadable[group.failure] += 1
                continue
            source = group.item.source.partition("/")[2]
            name = f"{numbers[source]:05d}.jpg"
            numbers[source] += 1
            for row, data in _files(group, group.picture, source, name):
                archive.writestr(zipfile.ZipInfo(row["file"], _STILL), data)
                rows.append(row)
            for family, _, distance in group.twins:
                quality[family].append(distance)
        if not numbers:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(unreadable.items()))
            raise ConfigurationError("no photograph can be decoded", where=reasons, remedy="Look at the files.")
        archive.writestr(zipfile.ZipInfo("metadata.csv", _STILL), _table(rows))
    return Made(
        photographs=numbers.total(),
        twins={family: len(found) for family, found in sorted(quality.items())},
        psnr={family: float(np.mean(found)) for family, found in sorted(quality.items())},
        unreadable=dict(unreadable),
    )


def psnr(pixels: Pixels, decoded: Pixels) -> float:
    """Peak signal-to-noise ratio in dB, for equal pictures that of a single grey level in one number."""
    error = np.square(pixels.astype(np.float64) - decoded)
    return float(10 * np.log10(255**2 / max(error.mean(), 1 / error.size)))


def _group(item: Item, plan: Plan) -> _Group:
    try:
        picture = decode(item.data)
    except ImageError as error:
        return _Group(item, failure=type(error).__name__)
    rng = np.random.default_rng([plan.seed, zlib.crc32(item.data)])
    height, width = (min(plan.side, length) for length in (picture.height, picture.width))
    top, left = int(rng.integers(picture.height - height + 1)), int(rng.integers(picture.width - width + 1))
    pixels = np.ascontiguousarray(picture.pixels[top : top + height, left : left + width])
    quality, subsampling = int(rng.integers(*_QUALITIES)), int(rng.choice(list(_SUBSAMPLING)))
    twins = []
    for place in rng.permutation(len(plan.families))[: plan.per_picture]:
        family = plan.families[place]
        made = reconstruct(pixels, family, int(rng.integers(1 << 31)), weights=plan.weights)
        twins.append((family, _encoded(made, quality, subsampling), psnr(pixels, made)))
    return _Group(item, "", picture, quality, subsampling, _encoded(pixels, quality, subsampling), tuple(twins))


def _encoded(pixels: Pixels, quality: int, subsampling: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def _files(group: _Group, picture: Picture, source: str, name: str) -> Iterator[tuple[dict[str, str], bytes]]:
    facts = group.item.facts
    common = {
        "stem": group.item.stem,
        "twin_of": source,
        "original_format": facts.get("original_format", picture.media_type.partition("/")[2].upper()),
        "original_width": facts.get("original_width", str(picture.width)),
        "original_height": facts.get("original_height", str(picture.height)),
        "quality": str(group.quality),
        "subsampling": _SUBSAMPLING[group.subsampling],
        "licence": facts.get("licence", ""),
    }
    yield {"file": f"real/{source}/{name}", "label": "real", "source": source, **common}, group.real
    for family, data, _ in group.twins:
        made = f"{source}-{family}"
        yield {"file": f"fake/{made}/{name}", "label": "fake", "source": made, "generator": family, **common}, data


def _table(rows: Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A draft beside the file, which takes its place at the end or leaves nothing behind."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            yield draft
            draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"the zip cannot be written: {error.strerror}", where=str(path)) from error
