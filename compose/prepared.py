"""A bounded set of pictures rendered beforehand, so that a load test spends its time on sending them."""

import io
import itertools
from collections.abc import Mapping
from random import Random

import numpy as np
from PIL import Image

from producers.traffic.pictures import Pictures, Subject
from producers.traffic.scenario import TRAINED
from stream.errors import ConfigurationError
from stream.events import TruthName

_QUALITY = 90
_START_OF_IMAGE = 2
_COMMENT = b"\xff\xfe"
_MARK_BYTES = 16


class PreparedPictures:
    """A `producers.traffic.pictures.Pictures` of JPEGs of one size, each with a comment of its own whenever it is sent.

    The comment changes the file's SHA-256 and not a pixel, so no upload is answered from the verdict cache and every
    one is decoded and judged. Accuracy over N uploads of K pictures is worth K pictures.

    Args:
        supply: Where pictures come from.
        size: Side in pixels; larger ones are cropped, smaller ones continued as in a mirror. Nothing is resized.
        count: How many, half of them machine-made.
        seed: Decides which.

    Raises:
        ConfigurationError: The supply has no machine-made pictures.
    """

    def __init__(self, supply: Pictures, *, size: int, count: int, seed: int) -> None:
        self._families = supply.families()
        families = self._families.get(TRAINED) or tuple(itertools.chain(*self._families.values()))
        if not families:
            raise ConfigurationError("there are no machine-made pictures to send", remedy="Put some under fake/")
        random = Random(f"{seed}/prepared")  # noqa: S311
        self._made: dict[TruthName, list[tuple[Subject, bytes]]] = {"authentic": [], "ai_generated": []}
        for number in range(count):
            label: TruthName = "ai_generated" if number % 2 else "authentic"
            family = families[number // 2 % len(families)] if label == "ai_generated" else None
            subject = supply.subject(label, family, random)
            self._made[label].append((subject, _fitted(supply.shoot(subject, "clean", random), size)))
        self._files = {subject: data for made in self._made.values() for subject, data in made}

    @property
    def mean_bytes(self) -> float:
        """Size of a file, in the mean."""
        return sum(map(len, self._files.values())) / len(self._files)

    def families(self) -> Mapping[str, tuple[str, ...]]:
        """As the supply says."""
        return self._families

    def subject(self, label: TruthName, family: str | None, random: Random) -> Subject:
        """Draws one of the prepared pictures of this label; families are as they were prepared."""
        del family
        return random.choice(self._made[label])[0]

    def shoot(self, subject: Subject, tier: str, random: Random) -> bytes:
        """The prepared file with a new comment after its first marker."""
        del tier
        data = self._files[subject]
        comment = _COMMENT + (_MARK_BYTES + 2).to_bytes(2) + random.randbytes(_MARK_BYTES)
        return data[:_START_OF_IMAGE] + comment + data[_START_OF_IMAGE:]


def _fitted(data: bytes, size: int) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    while height < size or width < size:
        more = (min(max(size - height, 0), height - 1), min(max(size - width, 0), width - 1))
        pixels = np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="reflect")
        height, width = pixels.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    file = io.BytesIO()
    Image.fromarray(pixels[top : top + size, left : left + size]).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
