"""A camera: lens, Bayer sensor, noise, demosaicing, tone curve.

What a forensic network reads in a photograph comes from here: the lens softens and shifts colours apart, each pixel
sees one colour only, photons arrive at random, the missing two colours are interpolated, and the tone curve makes the
noise depend on brightness. JPEG comes after (`encode`), as it does in a camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from producers.traffic.scenes.render import Light

Pixels = NDArray[np.uint8]
"""Display-ready picture, uint8 ``[H, W, 3]``, sRGB."""

_LEVELS = 4095
_SRGB_KNEE = 0.0031308


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera and how it was held. Lengths are in pixels, noise in units of full scale."""

    blur: float
    chromatic: float
    vignette: float
    exposure: float
    balance: tuple[float, float]
    shot: float
    read: float
    gradient_demosaic: bool
    contrast: float
    sharpen: int
    oversample: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """Draw a camera: from sharp and clean to soft and noisy."""
        return cls(
            blur=float(rng.uniform(0.3, 1.1)),
            chromatic=float(rng.uniform(0, 0.0025)),
            vignette=float(rng.uniform(0, 0.45)),
            exposure=float(rng.uniform(0.6, 1.15)),
            balance=(float(rng.uniform(1.4, 2.2)), float(rng.uniform(1.3, 1.9))),
            shot=float(10 ** rng.uniform(-3.6, -2.5)),
            read=float(10 ** rng.uniform(-3.0, -2.2)),
            gradient_demosaic=bool(rng.random() < 0.5),  # noqa: PLR2004
            contrast=float(rng.uniform(0.0, 0.35)),
            sharpen=int(rng.integers(0, 130)),
            oversample=float(rng.choice([1.0, 1.0, 1.25])),
        )

    def sensor_size(self, size: int) -> int:
        """Side of the light this camera needs for a picture of ``size`` pixels: even, for the Bayer pattern."""
        return 2 * round(size * self.oversample / 2 + 0.25)

    def expose(self, light: Light, rng: np.random.Generator, size: int) -> Pixels:
        """Take the picture.

        Args:
            light: Linear light, ``[sensor_size, sensor_size, 3]``.
            rng: Photon and read noise.
            size: Side of the picture that is wanted.

        Returns:
            uint8 ``[size, size, 3]``.
        """
        raw = mosaic(self._through_lens(light))
        raw += np.sqrt(self.shot * raw + self.read**2) * rng.standard_normal(raw.shape, dtype=np.float32)
        picture = demosaic(raw, corrected=self.gradient_demosaic)
        picture *= np.array([self.balance[0], 1.0, self.balance[1]], np.float32)
        codes = np.clip(picture * np.float32(_LEVELS), 0, _LEVELS).astype(np.uint16)
        image = Image.fromarray(self._tone_curve()[codes])
        if self.sharpen:
            image = image.filter(ImageFilter.UnsharpMask(radius=1.0, percent=self.sharpen, threshold=2))
        if image.width != size:
            image = image.resize((size, size), Image.Resampling.LANCZOS)
        return np.array(image)

    def _through_lens(self, light: Light) -> Light:
        """Vignette, blur and lateral colour shift; white balance is undone so that the sensor sees raw colours."""
        side = light.shape[0]
        axis = np.linspace(-1, 1, side, dtype=np.float32) ** 2
        falloff = np.asarray(1 - self.vignette * (axis[:, None] + axis[None, :]) / 2, np.float32)
        gains = (1 / self.balance[0], 1.0, 1 / self.balance[1])
        seen = np.empty_like(light)
        for channel, gain in enumerate(gains):
            plane = blur(light[..., channel] * falloff, self.blur) * np.float32(self.exposure * gain)
            if channel != 1:
                grow = 1 + self.chromatic * (1 if channel == 0 else 2)
                shift = side * (1 - 1 / grow) / 2
                plane = np.asarray(
                    Image.fromarray(plane).transform(
                        (side, side),
                        Image.Transform.AFFINE,
                        (1 / grow, 0, shift, 0, 1 / grow, shift),
                        Image.Resampling.BILINEAR,
                    )
                )
            seen[..., channel] = plane
        return seen

    def _tone_curve(self) -> Pixels:
        """Look-up table from 12-bit linear codes to 8-bit sRGB, with a little S-shaped contrast."""
        linear = np.arange(_LEVELS + 1) / _LEVELS
        # IEC 61966-2-1
        srgb = np.where(linear <= _SRGB_KNEE, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        curved = srgb + self.contrast * (srgb * srgb * (3 - 2 * srgb) - srgb)
        return np.asarray(np.round(curved * 255), np.uint8)


def blur(plane: Light, sigma: float) -> Light:
    """Blur one plane ``[H, W]`` with a 5-tap Gaussian of ``sigma`` pixels (meant for sigma up to about 1.2)."""
    taps = np.exp(-0.5 * (np.arange(-2, 3) / max(sigma, 0.05)) ** 2)
    centre, near, far = (taps / taps.sum())[[2, 1, 0]].astype(np.float32)
    wide = np.pad(plane, 2, mode="edge")
    wide = centre * wide[2:-2] + near * (wide[1:-3] + wide[3:-1]) + far * (wide[:-4] + wide[4:])
    return np.asarray(
        centre * wide[:, 2:-2] + near * (wide[:, 1:-3] + wide[:, 3:-1]) + far * (wide[:, :-4] + wide[:, 4:])
    )


def mosaic(light: Light) -> Light:
    """Keep one colour a pixel in the RGGB pattern: ``[H, W, 3]`` (even sides) to ``[H, W]``."""
    raw = light[..., 1].copy()
    raw[::2, ::2] = light[::2, ::2, 0]
    raw[1::2, 1::2] = light[1::2, 1::2, 2]
    return raw


def demosaic(raw: Light, *, corrected: bool) -> Light:
    """Interpolate the missing colours of an RGGB mosaic, ``[H, W]`` to ``[H, W, 3]``.

    Bilinear; with ``corrected`` the green at red and blue sites is corrected by the Laplacian of the sampled colour
    (Malvar, He and Cutler, ICASSP 2004, the green kernel).
    """
    wide = np.pad(raw, 2, mode="reflect")
    inner = wide[2:-2, 2:-2]
    north, south, west, east = wide[1:-3, 2:-2], wide[3:-1, 2:-2], wide[2:-2, 1:-3], wide[2:-2, 3:-1]
    cross = (north + south + west + east) * np.float32(0.25)
    corners = (wide[1:-3, 1:-3] + wide[1:-3, 3:-1] + wide[3:-1, 1:-3] + wide[3:-1, 3:-1]) * np.float32(0.25)
    rows, columns = (north + south) * np.float32(0.5), (west + east) * np.float32(0.5)
    if corrected:
        far = wide[:-4, 2:-2] + wide[4:, 2:-2] + wide[2:-2, :-4] + wide[2:-2, 4:]
        cross = cross + (inner - far * np.float32(0.25)) * np.float32(0.5)
    picture = np.empty((*raw.shape, 3), np.float32)
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    green[:] = inner
    green[::2, ::2], green[1::2, 1::2] = cross[::2, ::2], cross[1::2, 1::2]
    red[::2, ::2], red[::2, 1::2] = inner[::2, ::2], columns[::2, 1::2]
    red[1::2, ::2], red[1::2, 1::2] = rows[1::2, ::2], corners[1::2, 1::2]
    blue[1::2, 1::2], blue[1::2, ::2] = inner[1::2, 1::2], columns[1::2, ::2]
    blue[::2, 1::2], blue[::2, ::2] = rows[::2, 1::2], corners[::2, ::2]
    return picture
