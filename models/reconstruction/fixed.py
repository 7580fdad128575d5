"""Decoders with fixed weights: each but the last throws most pixels away and makes them up again in its own way.

A generative network draws at a low resolution and upsamples; what its last upsampling does to neighbouring pixels is
the trace detectors read. These stand for that step alone. All take and return float32 ``[H, W, 3]`` within 0..255 with
sides that are
multiples of four.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Plane = NDArray[np.float32]
Decoder = Callable[[Plane, np.random.Generator], Plane]

_CODEBOOK_STEP = 14.0


def halve(pixels: Plane) -> Plane:
    """Mean of each 2×2 block: the encoder all fixed decoders share."""
    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // 2, 2, width // 2, 2, channels)
    return np.asarray(blocks.mean((1, 3), dtype=np.float32), np.float32)


def _shift(pixels: Plane, down: int, right: int) -> Plane:
    """The picture moved by whole pixels, edges repeated."""
    height, width = pixels.shape[:2]
    wide = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return wide[1 - down : 1 - down + height, 1 - right : 1 - right + width]


def _resize(pixels: Plane, resampling: Image.Resampling) -> Plane:
    """Twice the size with one of Pillow's filters, in 8 bit."""
    small = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
    return np.asarray(small.resize((small.width * 2, small.height * 2), resampling), np.float32)


def _sharpened(pixels: Plane, percent: int) -> Plane:
    image = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.UnsharpMask(radius=1.0, percent=percent, threshold=0)), np.float32)


def nearest(pixels: Plane, rng: np.random.Generator) -> Plane:
    """Twice pixel doubling and one small asymmetric convolution, as in nearest-upsample-then-convolve decoders."""
    del rng
    decoded = halve(halve(pixels))
    for _ in range(2):
        doubled = decoded.repeat(2, 0).repeat(2, 1)
        decoded = 0.55 * doubled + 0.25 * _shift(doubled, 0, 1) + 0.2 * _shift(doubled, 1, 0)
    return decoded


def bilinear(pixels: Plane, rng: np.random.Generator) -> Plane:
    """Twice bilinear doubling, sharpened afterwards."""
    del rng
    small = halve(halve(pixels))
    return _sharpened(_resize(_resize(small, Image.Resampling.BILINEAR), Image.Resampling.BILINEAR), 120)


def subpixel(pixels: Plane, rng: np.random.Generator) -> Plane:
    """Twice four phases from four different kernels, interleaved: the checkerboard of an untrained pixel shuffle."""
    del rng
    return _shuffled(_shuffled(halve(halve(pixels))))


def _shuffled(small: Plane) -> Plane:
    right, down = _shift(small, 0, -1), _shift(small, -1, 0)
    gains = ((1.0, 0.0, 0.0), (0.62, 0.38, 0.0), (0.62, 0.0, 0.38), (1.16, -0.08, -0.08))
    out = np.empty((small.shape[0] * 2, small.shape[1] * 2, 3), np.float32)
    for phase, (own, across, below) in enumerate(gains):
        out[phase // 2 :: 2, phase % 2 :: 2] = own * small + across * right + below * down
    return out


def fourier_grid(pixels: Plane, rng: np.random.Generator) -> Plane:
    """Bicubic doubling with the spectrum's replicas let through: peaks at periods of 2, 4 and 8 pixels."""
    del rng
    upsampled = _resize(halve(pixels), Image.Resampling.BICUBIC)
    y = np.arange(upsampled.shape[0], dtype=np.float32)[:, None]
    x = np.arange(upsampled.shape[1], dtype=np.float32)[None, :]
    waves = [np.cos(2 * np.pi * x / period) + np.cos(2 * np.pi * y / period) for period in (2, 4, 8)]
    grid = waves[0] + waves[1] + waves[2]
    return np.asarray(upsampled * (1 + 0.014 * grid.astype(np.float32)[..., None]), np.float32)


def grain(pixels: Plane, rng: np.random.Generator) -> Plane:
    """Lanczos doubling hidden under synthetic film grain: smooth below, noisy above, no grid at all."""
    upsampled = _resize(halve(pixels), Image.Resampling.LANCZOS)
    speck = rng.standard_normal(upsampled.shape[:2], dtype=np.float32)
    speck = 0.5 * speck + 0.2 * (np.roll(speck, 1, 0) + np.roll(speck, 1, 1)) + 0.1 * np.roll(speck, (1, 1), (0, 1))
    strength = 1.5 + 5.0 * rng.random()
    shadow = 1.2 - upsampled.mean(2, dtype=np.float32) / np.float32(255)
    return np.asarray(upsampled + np.float32(strength) * (speck * shadow)[..., None], np.float32)


def codebook(pixels: Plane, rng: np.random.Generator) -> Plane:
    """A bicubic base plus detail snapped to a coarse codebook, as in vector-quantised tokenisers."""
    del rng
    base = _resize(halve(pixels), Image.Resampling.BICUBIC)
    detail = pixels - base
    snapped = np.round(detail / np.float32(_CODEBOOK_STEP)) * np.float32(_CODEBOOK_STEP)
    return np.asarray(base + snapped, np.float32)


def raster(pixels: Plane, rng: np.random.Generator) -> Plane:
    """Full resolution, every row a little too light or too dark, as in decoders that draw row by row."""
    strength = 4.0 + 3.0 * rng.random()
    rows = rng.standard_normal((pixels.shape[0], 1, 1), dtype=np.float32)
    return np.asarray(pixels + np.float32(strength) * rows, np.float32)


FIXED: dict[str, Decoder] = {
    "nearest": nearest,
    "bilinear": bilinear,
    "subpixel": subpixel,
    "fourier-grid": fourier_grid,
    "grain": grain,
    "codebook": codebook,
    "raster": raster,
}
