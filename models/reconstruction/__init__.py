"""Decoder families: the same picture, encoded at a lower resolution and decoded again, so that only the trace differs.

Used for the simulated machine-made scenes and to make twins of photographs (content, size and codec equal).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.reconstruction.fixed import FIXED
from models.reconstruction.learned import LEARNED, MULTIPLE, run
from stream.errors import ConfigurationError

__all__ = ["families", "reconstruct"]


def families() -> tuple[str, ...]:
    """Names of all decoder families, fixed ones first."""
    return (*FIXED, *LEARNED)


def reconstruct(pixels: NDArray[np.uint8], family: str, seed: int = 0) -> NDArray[np.uint8]:
    """Pass a picture through one family's encoder and decoder.

    Args:
        pixels: uint8 ``[H, W, 3]``, RGB. Sides need not be even; the edge is repeated where needed.
        family: One of `families`.
        seed: For the families that add something random.

    Returns:
        uint8 of the same shape; equal seeds give equal bytes.

    Raises:
        ConfigurationError: an unknown family.
    """
    if family not in families():
        raise ConfigurationError(
            f"There is no decoder family {family!r}", remedy=f"Known families: {', '.join(families())}."
        )
    height, width = pixels.shape[:2]
    padding = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
    padded = np.pad(pixels, padding, mode="edge").astype(np.float32)
    fixed = FIXED.get(family)
    decoded = run(family, padded) if fixed is None else fixed(padded, np.random.default_rng(seed))
    return np.clip(np.round(decoded[:height, :width]), 0, 255).astype(np.uint8)
