"""The residual front end: what is left of a picture when its smooth part is taken out.

High-pass filters of the spatial rich model (J. Fridrich and J. Kodovsky, IEEE TIFS 7(3), 2012), fixed, on each colour.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_GAIN, _LIMIT = 8.0, 3.0
_COLOURS, _SIDE = 3, 5
_EDGE = [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]
_KV = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
_BINOMIAL = [1, 4, 6, 4, 1]

MAPS = 15
"""Maps of a picture: five filters of three colours."""


class Residuals(nn.Module):
    """Second differences along and across, a 3×3 edge, the 5×5 KV filter, and x less its 5×5 Gaussian."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        gauss = torch.tensor(_BINOMIAL).float()
        identity = _centred([[1]])
        kernels = torch.stack([
            _centred([[1, -2, 1]]),
            _centred([[1], [-2], [1]]),
            _centred(_EDGE) / 4,
            _centred(_KV) / 12,
            identity - torch.outer(gauss, gauss) / gauss.sum() ** 2,
        ])  # fmt: skip
        self.register_buffer("filters", kernels[:, None].repeat(_COLOURS, 1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 ``[N, 3, H, W]`` in 0..1 to ``[N, 15, H, W]`` within ±3, eight times the residual."""
        padded = nn.functional.pad(pixels, (_SIDE // 2,) * 4, mode="reflect")
        residuals = nn.functional.conv2d(padded, self.filters, groups=_COLOURS)
        return (residuals * _GAIN).clamp(-_LIMIT, _LIMIT)


def _centred(kernel: list[list[int]]) -> Tensor:
    """A kernel of odd sides in the middle of 5×5 zeros."""
    small = torch.tensor(kernel).float()
    across, along = ((_SIDE - size) // 2 for size in small.shape)
    return nn.functional.pad(small, (along, along, across, across))
