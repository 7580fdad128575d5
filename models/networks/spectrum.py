"""The spectrum of a picture's small blocks: where it falls off too soon, and what stands out of it.

R. Durall, M. Keuper and J. Keuper, "Watch your up-convolution", CVPR 2020. Two products of matrices are the discrete
Fourier transform of all blocks: along the lines, then across them, where real and imaginary parts share an axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.networks.bands import cut

_FLOOR = 0.1


class Spectrum(nn.Module):
    """Planes ``[N, C, S, S]`` to the logarithm of their blocks' mean power by frequency, ``[N, C * width]``.

    Args:
        size: Side of a block, pixels.

    Attributes:
        width: How many frequencies there are. Of those that a real picture has twice only one is taken, and none next
            to zero, to which Hann's window spreads a block's level.
    """

    along: Tensor
    across: Tensor
    kept: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.frequencies = size, size // 2 + 1
        places = torch.arange(size, dtype=torch.float64)
        angles = 2 * math.pi * torch.outer(places, places) / size
        window = torch.hann_window(size, dtype=torch.float64)[:, None]
        cosines, sines = angles.cos() * window, angles.sin() * window
        self.register_buffer("along", torch.stack([cosines, -sines], 2)[:, : self.frequencies].flatten(1).float())
        real, imaginary = torch.cat([cosines, -sines], 1), torch.cat([sines, cosines], 1)
        self.register_buffer("across", torch.cat([real, imaginary], 0).float())
        kept = [
            first * size + second
            for first in range(self.frequencies)
            for second in range(self.frequencies if first in (0, size // 2) else size)
            if first > 1 or second not in (0, 1, size - 1)
        ]
        self.register_buffer("kept", torch.tensor(kept))
        self.width = len(kept)

    def forward(self, planes: Tensor) -> Tensor:
        """float32 ``[N, C, S, S]``, S at least a block, to ``[N, C * width]``."""
        count = int(planes.shape[1])
        high, wide = (int(side) // self.size for side in planes.shape[2:])
        lines = cut(planes, high * self.size, wide * self.size).reshape(-1, high, self.size, wide, self.size)
        first = (lines @ self.along).reshape(-1, high, self.size, wide, self.frequencies, 2)
        parts = first.permute(0, 1, 3, 4, 5, 2).reshape(-1, high * wide, self.frequencies, 2 * self.size) @ self.across
        power = (parts * parts).mean(1).reshape(-1, self.frequencies, 2, self.size).sum(2)
        found: Tensor = (power.flatten(1)[:, self.kept] + _FLOOR).log()
        return found.reshape(-1, count * self.width)
