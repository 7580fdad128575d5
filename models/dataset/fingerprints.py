"""A perceptual hash: the signs of a picture's lowest spatial frequencies.

The picture is averaged down to 32×32 grey levels and transformed (DCT-II); the 64 lowest frequencies but the mean are
kept, and the hash holds their signs. Encoding again, resizing and changes of brightness or contrast move few signs.
Signs of a flat picture are noise, so a flat one has no hash.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
BITS = 64
_REACH = 9
_FLAT = 1.5  # standard deviation in grey levels under which re-encoding alone turns signs around


def _basis() -> NDArray[np.float32]:
    """The first rows of the orthonormal DCT-II, ``[9, 32]`` (Ahmed, Natarajan and Rao, 1974)."""
    positions = np.pi * (2 * np.arange(SIDE) + 1) / (2 * SIDE)
    rows = np.sqrt(2 / SIDE) * np.cos(positions * np.arange(_REACH)[:, None])
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


_BASIS = _basis()
_LOWEST = np.argsort([i * i + j * j for i in range(_REACH) for j in range(_REACH)], kind="stable")[1 : BITS + 1]


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 ``[height, width, 3]`` averaged down (or, where smaller, spread) to grey ``[32, 32]``."""
    grey = Image.fromarray(np.ascontiguousarray(pixels)).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))


def coefficients(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The lowest frequencies of thumbnails ``[N, 32, 32]``, float32 ``[N, 64]``."""
    spectrum = _BASIS @ thumbnails.astype(np.float32) @ _BASIS.T
    return spectrum.reshape(len(thumbnails), -1)[:, _LOWEST]


def hashes(found: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Hashes ``[N]`` of coefficients ``[N, 64]``: one bit for each sign."""
    weights = np.uint64(1) << np.arange(BITS, dtype=np.uint64)
    return np.asarray(((found > 0) * weights).sum(1, dtype=np.uint64))


def flat(found: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pictures ``[N]`` show too little for a hash. The transform keeps energy, so its norm is a deviation."""
    return np.asarray(np.linalg.norm(found, axis=1) < _FLAT * SIDE)


def likeness(found: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Cosine ``[P]`` between the coefficients of each of ``[P, 2]`` pairs, none of them flat."""
    one, other = found[pairs[:, 0]], found[pairs[:, 1]]
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(1) / norms, np.float32)
