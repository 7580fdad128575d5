"""What a reconstruction must keep besides its pixels: edges and texture, which L1 alone smooths away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_GRADIENT, _SPREAD = 0.5, 0.5
_WINDOW = 5
_FLAT = 1.0


def distance(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1 of the pixels, of their differences to the right and below, and of the local standard deviation.

    Args:
        decoded: float32 ``[N, H, W, 3]`` within 0..255.
        pixels: What it should be, the same shape.

    Returns:
        One number in grey levels.
    """
    loss = (decoded - pixels).abs().mean()
    for axis in (1, 2):
        loss = loss + _GRADIENT * (decoded.diff(dim=axis) - pixels.diff(dim=axis)).abs().mean()
    return loss + _SPREAD * (_spread(decoded) - _spread(pixels)).abs().mean()


def _spread(pixels: Tensor) -> Tensor:
    """Standard deviation of the luma in windows of 5×5; a grey level is added to keep its slope finite."""
    luma = pixels.mean(3)[:, None]
    mean = functional.avg_pool2d(luma, _WINDOW, 1)
    return torch.sqrt((functional.avg_pool2d(luma * luma, _WINDOW, 1) - mean * mean).clamp_min(0) + _FLAT)
