"""Simulated photographs and simulated machine-made pictures of the same scenes.

A *photograph* is a scene taken by a simulated camera. A *machine-made* picture is another scene's photograph passed
through a decoder family, so that both classes have the same kind of content and differ in the decoder's trace only.
Neither is real; verdicts on them measure the pipeline, not the world.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from models import reconstruction
from producers.traffic.scenes.camera import Camera, Pixels
from producers.traffic.scenes.render import render
from stream.errors import ConfigurationError

CAMERA = "simulated-camera"
"""The source name of simulated photographs."""

TRAINED_FAMILIES: tuple[str, ...] = (
    "nearest", "bilinear", "subpixel", "fourier-grid", "conv-transposed", "conv-shuffle", "conv-resize",
)  # fmt: skip
"""Decoder families the shipped bundle was trained on."""

UNSEEN_FAMILIES: tuple[str, ...] = ("grain", "codebook", "raster")
"""Decoder families kept out of all training: what a new generator looks like to the detector."""

DEMO_FAMILIES: tuple[str, ...] = ("nearest", "bilinear", "subpixel", "fourier-grid", "conv-resize")
"""Decoder families the demo's bundle was trained on; to that one all others are new."""

TIERS: tuple[str, ...] = ("clean", "web", "hard")
"""Delivery tiers: as taken (JPEG q90), long side ≤ 768 at q60, long side ≤ 0.6 of the original and ≤ 512 at q40."""

DELIVERED: Mapping[str, float] = {"clean": 0.6, "web": 0.4}
"""How often each tier brings a picture, unless a scenario says otherwise."""

_FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def families() -> tuple[str, ...]:
    """Every family of simulated machine-made pictures, trained ones first."""
    return TRAINED_FAMILIES + UNSEEN_FAMILIES


def photograph(seed: int, size: int = 512) -> Pixels:
    """A simulated photograph, uint8 ``[size, size, 3]``; equal seeds give equal pixels."""
    rng = np.random.default_rng([seed, size])
    camera = Camera.draw(rng)
    return camera.expose(render(rng, camera.sensor_size(size)), rng, size)


def machine_made(seed: int, size: int, family: str) -> Pixels:
    """A simulated machine-made picture, uint8 ``[size, size, 3]``.

    It is `photograph(seed, size)` reconstructed by ``family``, so the pair differs in the decoder's trace only.

    Raises:
        ConfigurationError: an unknown family.
    """
    return reconstruction.reconstruct(photograph(seed, size), family, seed)


def encode(pixels: Pixels, quality: int = 90, format: str = "JPEG") -> bytes:  # noqa: A002 - Pillow's own word
    """Encode a picture as ``JPEG``, ``PNG`` (quality ignored) or ``WEBP``.

    Raises:
        ConfigurationError: another format.
    """
    media_type(format)
    out = io.BytesIO()
    options = {} if format == "PNG" else {"quality": quality}
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()


def media_type(format: str) -> str:  # noqa: A002
    """``image/jpeg`` for ``JPEG``, and so on.

    Raises:
        ConfigurationError: a format scenes are not encoded in.
    """
    if format not in _FORMATS:
        raise ConfigurationError(
            f"Scenes cannot be encoded as {format!r}", remedy=f"Choose one of {', '.join(_FORMATS)}."
        )
    return _FORMATS[format]


def deliver(pixels: Pixels, tier: str = "clean", format: str = "JPEG") -> bytes:  # noqa: A002
    """Encode a picture the way a platform in that delivery tier would have it.

    Raises:
        ConfigurationError: an unknown tier or format.
    """
    long_side = max(pixels.shape[:2])
    limits = {"clean": (long_side, 90), "web": (768, 60), "hard": (min(512, round(long_side * 0.6)), 40)}
    if tier not in limits:
        raise ConfigurationError(f"There is no delivery tier {tier!r}", remedy=f"Choose one of {', '.join(TIERS)}.")
    limit, quality = limits[tier]
    if limit < long_side:
        image = Image.fromarray(pixels)
        image.thumbnail((limit, limit), Image.Resampling.BICUBIC)
        pixels = np.asarray(image)
    return encode(pixels, quality, format)
