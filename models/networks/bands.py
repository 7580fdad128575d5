"""Residuals of three neighbouring lines out of every five, over the whole of a picture.

Neighbouring lines resemble each other, so that all of them say little more than some; but how a pixel agrees with those
below it needs lines that touch. Five is odd: whatever repeats with every second, fourth or eighth line is met in all
its phases. One convolution with a stride of five makes all maps of all three lines, which costs a processor hardly more
than one map: it computes as many channels at once as a register holds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.srm import Residuals

LINES, EVERY = 3, 5
GREY, COLOURS = 5, 2

_LIMIT = 24.0
_COLUMNS = 4


class Bands(nn.Module):
    """Grey levels and colour differences to residuals ``[N, maps, LINES, B, W]`` within ±24.

    There are `GREY` maps of the one, and one, the finest, of each of the `COLOURS`. Line l of band b is line
    ``EVERY * b + l`` of the residuals; W is the side less four, in whole fours.
    """

    plain: Tensor
    finest: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = Residuals().filters[:GREY, 0]
        self.register_buffer("plain", _moved(kernels, LINES, 1))
        self.register_buffer("finest", _moved(kernels[-1:], LINES, _COLUMNS))

    def forward(self, grey: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
        """float32 ``[N, 1, S, S]`` and ``[N, 2, S, S]``, levels of 0..255, to the maps of each."""
        high, wide = (int(side) for side in colours.shape[2:])
        plain = nn.functional.conv2d(grey, self.plain, stride=(EVERY, 1)).clamp(-_LIMIT, _LIMIT)
        coloured = nn.functional.conv2d(
            colours.reshape(-1, 1, high, wide), self.finest, stride=(EVERY, _COLUMNS)
        ).clamp(-_LIMIT, _LIMIT)
        bands, width = int(coloured.shape[2]), int(coloured.shape[3]) * _COLUMNS
        split = coloured.reshape(-1, COLOURS, LINES, _COLUMNS, bands, width // _COLUMNS)
        coloured = split.permute(0, 1, 2, 4, 5, 3).reshape(-1, COLOURS, LINES, bands, width)
        return cut(plain.reshape(-1, GREY, LINES, bands, int(plain.shape[3])), bands, width), coloured


def cut(planes: Tensor, height: int, width: int) -> Tensor:
    """The first lines and columns; where that is all there are nothing is copied."""
    high, wide = (int(side) for side in planes.shape[-2:])
    lines = planes if high == height else planes[..., :height, :]
    return lines if wide == width else lines[..., :width]


def _moved(kernels: Tensor, lines: int, columns: int) -> Tensor:
    """Kernels at so many places beside each other, a channel each: ``[K * lines * columns, 1, h, w]``."""
    count, high, wide = kernels.shape
    moved = torch.zeros(count, lines, columns, high + lines - 1, wide + columns - 1)
    for line in range(lines):
        for column in range(columns):
            moved[:, line, column, line : line + high, column : column + wide] = kernels
    return moved.flatten(0, 2).unsqueeze(1)
