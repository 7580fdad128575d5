"""Procedural scenes: linear light, no camera yet.

Sky and terrain from fractal noise, shaded spheres and boxes, foliage, signs with strokes that look like writing, and
small lights. Nothing here is meant to fool a person: a scene only has to offer what a camera and a decoder leave
traces in, that is edges, textures, gradients and fine detail, and the same scene must be available to both.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Light = NDArray[np.float32]
"""Linear radiance, float32 ``[H, W, 3]``, mostly within 0..1; highlights may exceed 1."""

_SUPERSAMPLE = 3


def noise(rng: np.random.Generator, height: int, width: int, octaves: int = 4, coarsest: int = 3) -> Light:
    """Fractal value noise, float32 ``[height, width]`` within 0..1 (smooth where ``octaves`` is small)."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = coarsest * 2**octave + 1
        if cells >= min(height, width):
            break
        grid = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) * np.float32(0.5**octave)
    low, high = float(total.min()), float(total.max())
    return (total - np.float32(low)) / np.float32(max(high - low, 1e-6))


def _colour(rng: np.random.Generator, low: float = 0.05, high: float = 0.9) -> Light:
    """One linear RGB colour, moderately saturated."""
    grey = rng.uniform(low, high)
    return np.clip(grey * (1 + rng.uniform(-0.45, 0.45, 3)), 0.01, 1.0).astype(np.float32)


def _blend(canvas: Light, top: int, left: int, mask: Light, paint: Light) -> None:
    """Paint ``paint`` (``[h, w, 3]`` or one colour) over the canvas at (top, left), weighted by ``mask`` ``[h, w]``."""
    height, width = mask.shape
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, canvas.shape[0]), min(left + width, canvas.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    weight = mask[cut][..., None]
    colour = paint[cut] if paint.ndim == 3 else paint  # noqa: PLR2004 - three axes is what a picture has
    patch = canvas[y0:y1, x0:x1]
    patch += weight * (colour - patch)


def _polygon(points: NDArray[np.float64]) -> tuple[int, int, Light]:
    """Anti-aliased mask of a polygon; returns top, left and the mask ``[h, w]``."""
    left, top = np.floor(points.min(0)).astype(int) - 1
    right, bottom = np.ceil(points.max(0)).astype(int) + 1
    image = Image.new("L", ((right - left) * _SUPERSAMPLE, (bottom - top) * _SUPERSAMPLE))
    corners = (points - [left, top]) * _SUPERSAMPLE
    ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    mask = np.asarray(image.reduce(_SUPERSAMPLE), np.float32) / np.float32(255)
    return int(top), int(left), mask


def _texture(rng: np.random.Generator, height: int, width: int) -> Light:
    """A surface pattern, float32 ``[height, width]`` around 1: stripes, bricks, weave, grain or plain."""
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    period = np.float32(rng.uniform(3, 24))
    depth = np.float32(rng.uniform(0.15, 0.6))
    kind = int(rng.integers(5))
    if kind == 0:
        angle = rng.uniform(0, math.pi)
        wave = np.sin((x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))) * (6.28 / period))
        return (1 - depth * (wave > 0)).astype(np.float32)
    if kind == 1:
        row = np.floor(y / period)
        mortar = (np.mod(y, period) < 1.5) | (np.mod(x + row * period, 2 * period) < 1.5)  # noqa: PLR2004
        return np.asarray(1 - depth * mortar, np.float32)
    if kind == 2:  # noqa: PLR2004 - the kinds are simply numbered
        return np.asarray(1 - depth * 0.5 * (1 + np.sin(x * 6.28 / period) * np.sin(y * 6.28 / period)), np.float32)
    if kind == 3:  # noqa: PLR2004
        return np.asarray(1 + depth * (rng.random((height, width), dtype=np.float32) - 0.5), np.float32)
    return np.asarray(1 + depth * (noise(rng, height, width, 5) - 0.5), np.float32)


def _sky_and_ground(rng: np.random.Generator, canvas: Light) -> None:
    height, width = canvas.shape[:2]
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    canvas += _colour(rng, 0.2, 0.8) * (1 - ramp) + _colour(rng, 0.3, 1.0) * ramp
    clouds = np.clip(noise(rng, height, width, 6) * 2 - rng.uniform(0.6, 1.2), 0, 1)
    canvas += (clouds * np.float32(rng.uniform(0.1, 0.6)))[..., None]
    for layer in range(int(rng.integers(1, 3))):
        ridge = Image.fromarray(rng.random((1, int(rng.integers(4, 24))), dtype=np.float32))
        edge = np.asarray(ridge.resize((width, 1), Image.Resampling.BICUBIC))[0]
        line = height * (rng.uniform(0.3, 0.7) + 0.15 * layer + 0.18 * (edge - 0.5))
        mask = np.clip(np.arange(height, dtype=np.float32)[:, None] - line[None, :], 0, 1).astype(np.float32)
        surface = noise(rng, height, width, 5, int(rng.integers(4, 12)))
        surface += np.float32(rng.uniform(0, 0.5)) * (rng.random((height, width), dtype=np.float32) - np.float32(0.5))
        paint = _colour(rng, 0.05, 0.5) * (0.4 + surface)[..., None]
        _blend(canvas, 0, 0, mask, paint.astype(np.float32))


def _room(rng: np.random.Generator, canvas: Light) -> None:
    height, width = canvas.shape[:2]
    floor = int(height * rng.uniform(0.5, 0.85))
    glow = 0.4 + noise(rng, height, width, 2, 2)
    wall = _texture(rng, floor, width) if rng.random() < 0.5 else np.ones((floor, width), np.float32)  # noqa: PLR2004 - even odds
    table = _texture(rng, height - floor, width)
    canvas[:floor] = wall[..., None] * _colour(rng, 0.2, 0.8)
    canvas[floor:] = table[..., None] * _colour(rng, 0.1, 0.6)
    canvas *= glow[..., None]


def _sphere(rng: np.random.Generator, canvas: Light) -> None:
    size = canvas.shape[0]
    radius = int(size * rng.uniform(0.04, 0.2)) + 2
    grid = np.arange(-radius, radius + 1, dtype=np.float32)
    x, y = np.meshgrid(grid / radius, grid / radius)
    squared = x * x + y * y
    depth = np.sqrt(np.clip(1 - squared, 0, 1))
    light = rng.normal(size=3) + np.array([0, -1.2, 1.4])
    light = (light / np.linalg.norm(light)).astype(np.float32)
    shade = np.clip(x * light[0] + y * light[1] + depth * light[2], 0, 1)
    gloss = np.clip(2 * shade * depth - light[2], 0, 1) ** np.float32(rng.uniform(8, 60)) * rng.uniform(0, 0.9)
    surface = _texture(rng, *x.shape) if rng.random() < 0.6 else np.ones_like(x)  # noqa: PLR2004
    paint = (0.08 + shade * surface)[..., None] * _colour(rng) + gloss.astype(np.float32)[..., None]
    mask = np.asarray(np.clip((1 - np.sqrt(squared)) * radius, 0, 1), np.float32)
    top, left = int(rng.uniform(0.2, 0.95) * size) - radius, int(rng.uniform(0, 1) * size) - radius
    fall = np.asarray(np.clip(1 - squared, 0, 1) * np.float32(0.55), np.float32)
    _blend(canvas, top + radius // 2, left + radius // 3, fall, np.zeros(3, np.float32))
    _blend(canvas, top, left, mask, paint.astype(np.float32))


def _box(rng: np.random.Generator, canvas: Light) -> None:
    size = canvas.shape[0]
    centre = rng.uniform([0, 0.3], [1, 0.95]) * size
    across, up = rng.uniform(0.05, 0.2, 2) * size
    angle, rise = rng.uniform(0.2, 1.3), rng.uniform(0.2, 0.5)
    right = np.array([math.cos(angle), rise * math.sin(angle)]) * across
    back = np.array([-math.sin(angle), rise * math.cos(angle)]) * across
    high = np.array([0.0, -up])
    colour = _colour(rng)
    faces = ((right, high, 0.5), (back, high, 0.85), (right, back, 1.15))
    for first, second, brightness in faces:
        origin = centre + (high if brightness > 1 else 0)
        top, left, mask = _polygon(np.stack([origin, origin + first, origin + first + second, origin + second]))
        paint = _texture(rng, *mask.shape)[..., None] * colour * np.float32(brightness)
        _blend(canvas, top, left, mask, paint)


def _foliage(rng: np.random.Generator, canvas: Light) -> None:
    size = canvas.shape[0]
    centre, spread = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0.05, 0.18) * size
    base = np.array([0.06, 0.2, 0.03]) * rng.uniform(0.5, 2.5) * (1 + rng.uniform(-0.3, 0.6, 3))
    side = int(spread * 5)
    image = Image.new("RGB", (side * 2, side * 2))
    mask = Image.new("L", image.size)
    paint, cut = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    places = rng.normal(side, spread * 1.3, (140, 2))
    angles, lengths = rng.uniform(0, math.pi, 140), rng.uniform(0.03, 0.16, 140) * side
    for (x, y), angle, length, glow in zip(places, angles, lengths, rng.uniform(0.4, 1.6, 140), strict=True):
        along = np.array([math.cos(angle), math.sin(angle)]) * length
        aside = np.array([-along[1], along[0]]) * 0.35
        leaf = [tuple(np.array([x, y]) + step) for step in (-along, aside, along, -aside)]
        paint.polygon(leaf, fill=tuple(int(v) for v in np.clip(base * glow, 0, 1) * 255))
        cut.polygon(leaf, fill=255)
    pixels = np.asarray(image.reduce(2), np.float32) / np.float32(255)
    cover = np.asarray(mask.reduce(2), np.float32) / np.float32(255)
    pixels /= np.maximum(cover, 0.05)[..., None]
    _blend(canvas, int(centre[1] - side / 2), int(centre[0] - side / 2), cover, np.minimum(pixels, 1))


def _sign(rng: np.random.Generator, canvas: Light) -> None:
    size = canvas.shape[0]
    width, height = int(size * rng.uniform(0.15, 0.5)), int(size * rng.uniform(0.08, 0.3))
    image = Image.new("L", (width * 2, height * 2), 0)
    pen = ImageDraw.Draw(image)
    glyph = int(rng.uniform(8, 26))
    stroke = max(1, glyph // 6)
    for y in range(glyph // 2, height * 2 - glyph, int(glyph * 1.6)):
        for x in range(glyph // 2, width * 2 - glyph, glyph):
            if rng.random() < 0.15:  # noqa: PLR2004 - a gap between words
                continue
            path = rng.uniform(0, [glyph * 0.75, glyph], (int(rng.integers(2, 5)), 2)) + np.array([x, y])
            pen.line([(float(a), float(b)) for a, b in path], fill=255, width=stroke)
    ink = np.asarray(image.reduce(2), np.float32)[..., None] / np.float32(255)
    paint = _colour(rng, 0.5, 1.0) * (1 - ink) + _colour(rng, 0.02, 0.2) * ink
    place = rng.uniform(-0.05, 0.8, 2) * size
    _blend(canvas, int(place[0]), int(place[1]), np.ones(paint.shape[:2], np.float32), paint.astype(np.float32))


def _lights(rng: np.random.Generator, canvas: Light) -> None:
    size = canvas.shape[0]
    for _ in range(int(rng.integers(4, 16))):
        radius = int(rng.uniform(1, 0.03 * size + 2)) + 1
        grid = np.arange(-radius, radius + 1, dtype=np.float32)
        distance = np.hypot(grid[:, None], grid[None, :])
        mask = np.clip(radius - distance, 0, 1).astype(np.float32) * np.float32(rng.uniform(0.4, 1))
        top, left = (rng.random(2) * size).astype(int)
        _blend(canvas, int(top), int(left), mask, _colour(rng, 0.8, 1.6))


_OBJECTS: tuple[Callable[[np.random.Generator, Light], None], ...] = (_sphere, _box, _foliage, _sign, _lights)


def render(rng: np.random.Generator, size: int) -> Light:
    """Render one scene.

    Args:
        rng: Decides everything in the scene.
        size: Side in pixels.

    Returns:
        Linear light, float32 ``[size, size, 3]``, not below 0.
    """
    canvas = np.zeros((size, size, 3), np.float32)
    backdrop = _sky_and_ground if rng.random() < 0.6 else _room  # noqa: PLR2004 - three outdoors for two indoors
    backdrop(rng, canvas)
    weights = rng.dirichlet(np.ones(len(_OBJECTS)) * 0.8)
    for index in rng.choice(len(_OBJECTS), size=int(rng.integers(4, 11)), p=weights):
        _OBJECTS[int(index)](rng, canvas)
    return np.maximum(canvas, 0)
