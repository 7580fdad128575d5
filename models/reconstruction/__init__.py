"""Decoder families: the same picture, encoded at a lower resolution and decoded again, so that only the trace differs.

Used for the simulated machine-made scenes and to make twins of photographs (content, size and codec equal).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.reconstruction.fixed import FIXED, Decoder
from models.reconstruction.learned import LEARNED, MULTIPLE, WEIGHTS, run, session
from stream.errors import ConfigurationError

__all__ = ["families", "passed", "reconstruct"]


def families() -> tuple[str, ...]:
    """Names of all decoder families, fixed ones first."""
    return (*FIXED, *LEARNED)


def reconstruct(pixels: NDArray[np.uint8], family: str, seed: int = 0, *, weights: Path = WEIGHTS) -> NDArray[np.uint8]:
    """Pass a picture through one family's encoder and decoder.

    Args:
        pixels: uint8 ``[H, W, 3]``, RGB. Sides need not be even; the edge is repeated where needed.
        family: One of `families`.
        seed: For the families that add something random.
        weights: Folder of the learned families' files; those that ship if left out.

    Returns:
        uint8 of the same shape; equal seeds give equal bytes.

    Raises:
        ConfigurationError: an unknown family, or weights that are not there.
    """
    if family in FIXED:
        return passed(pixels, FIXED[family], seed)
    if family not in LEARNED:
        raise ConfigurationError(
            f"There is no decoder family {family!r}", remedy=f"Known families: {', '.join(families())}."
        )
    learned = session(family, weights)
    return passed(pixels, lambda padded, _: run(learned, padded))


def passed(pixels: NDArray[np.uint8], decoder: Decoder, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of any size through a decoder that wants sides in multiples of eight; see `reconstruct`."""
    height, width = pixels.shape[:2]
    padding = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
    padded = np.pad(pixels, padding, mode="edge").astype(np.float32)
    decoded = decoder(padded, np.random.default_rng(seed))
    return np.clip(np.round(decoded[:height, :width]), 0, 255).astype(np.uint8)
