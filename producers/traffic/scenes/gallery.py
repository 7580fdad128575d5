"""Pre-rendered scenes, handed out quickly.

Rendering a scene takes about a tenth of a second, so a generator of hundreds of pictures a second hands out a fixed
set again and again. Every picture handed out has bytes of its own: most carry a fresh JPEG comment and nothing else
(the pixels repeat; the bytes, and so every cache key, do not), one in `_FRESH_EVERY` is really cropped, brightened and
encoded again. Accuracy over a long run therefore rests on ``count`` scenes a family and tier, not on one a picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageEnhance

from producers.traffic.scenes.families import CAMERA, deliver, encode, machine_made, photograph

_FRESH_EVERY = 16
_QUALITY = {"clean": 90, "web": 60, "hard": 40}


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture and the truth about it."""

    data: bytes
    family: str
    tier: str
    scene: int
    media_type: str = "image/jpeg"

    @property
    def machine_made(self) -> bool:
        """Whether a decoder, not a camera, made it last."""
        return self.family != CAMERA


class Gallery:
    """A cache of encoded scenes, deterministic by seed.

    Args:
        seed: Decides every scene.
        size: Side in pixels before the delivery tier.
        count: Scenes for each pair of family and tier; the same scenes for every family.
    """

    def __init__(self, seed: int, size: int = 512, count: int = 24) -> None:
        self.seed = seed
        self.size = size
        self.count = count
        self._rendered: dict[tuple[str, str, int], bytes] = {}

    def prepare(
        self,
        families: Iterable[str],
        tiers: Iterable[str] = ("clean",),
        progress: Callable[[], None] | None = None,
    ) -> None:
        """Render everything for these families (`CAMERA` for photographs) and tiers now, not at the first draw.

        Args:
            families: Families to render.
            tiers: Delivery tiers to render them in.
            progress: Called after each picture.
        """
        tiers = tuple(tiers)
        for family in families:
            for tier in tiers:
                for index in range(self.count):
                    self._encoded(family, tier, index)
                    if progress is not None:
                        progress()

    def draw(self, rng: np.random.Generator, family: str = CAMERA, tier: str = "clean") -> Picture:
        """Draw a picture with bytes of its own.

        Args:
            rng: Chooses the scene and the variation.
            family: `CAMERA` or a decoder family.
            tier: Delivery tier.

        Returns:
            The picture; microseconds for most, milliseconds where it is encoded again, about a tenth of a second
            where it was not prepared.

        Raises:
            ConfigurationError: an unknown family or tier.
        """
        index = int(rng.integers(self.count))
        picture = Picture(self._encoded(family, tier, index), family, tier, index)
        if rng.integers(_FRESH_EVERY) == 0:
            return self.near_duplicate(picture, rng)
        return replace(picture, data=stamp(picture.data, rng.bytes(12)))

    def near_duplicate(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """The same picture cropped by a few pixels, a little brighter or darker, and encoded again."""
        image: Image.Image = Image.open(io.BytesIO(picture.data))
        left, top, right, bottom = (int(edge) for edge in rng.integers(0, 9, 4))
        image = image.crop((left, top, image.width - right, image.height - bottom))
        image = ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.93, 1.07)))
        quality = _QUALITY[picture.tier] + int(rng.integers(-4, 5))
        return replace(picture, data=encode(np.asarray(image), quality))

    def _encoded(self, family: str, tier: str, index: int) -> bytes:
        key = (family, tier, index)
        if key not in self._rendered:
            scene = scene_seed(self.seed, index)
            made = photograph(scene, self.size) if family == CAMERA else machine_made(scene, self.size, family)
            self._rendered[key] = deliver(made, tier)
        return self._rendered[key]


def scene_seed(seed: int, index: int) -> int:
    """The seed of a gallery's ``index``-th scene; galleries of different seeds share no scene."""
    return seed * 1_000_003 + index


def stamp(jpeg: bytes, mark: bytes) -> bytes:
    """Insert a JPEG comment right after the start marker: other bytes, the same pixels."""
    return jpeg[:2] + b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark + jpeg[2:]
