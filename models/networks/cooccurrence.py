"""How often residuals follow each other: co-occurrences of three neighbours, the measure of the spatial rich model.

J. Fridrich and J. Kodovsky, "Rich models for steganalysis of digital images", IEEE TIFS 7(3), 2012. Residuals are
rounded to a coarse step and clipped to one step, so that 27 patterns of three neighbours are possible; a pattern counts
with its mirror image and its negative, which leaves ten. Means and variances say how strong a residual is, these say
how it is made: noise that was smoothed away beside edges that were kept, values snapped to a grid, a net's ripples.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

_STEPS = (1.0, 3.0)
_FLOOR = 1e-4
_NEIGHBOURS = 3
_ROWS, _COLUMNS = 2, 3


class Cooccurrences(nn.Module):
    """Residual maps of grey levels, ``[N, maps, H, W]``, to logarithms of frequencies ``[N, width]``.

    Args:
        maps: How many maps there will be.

    Attributes:
        width: How many frequencies there are.
    """

    gather: Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        gather = _alike()
        self.register_buffer("gather", gather)
        self.width = maps * len(_STEPS) * 2 * gather.shape[1]

    def forward(self, residuals: Tensor) -> Tensor:
        """``[N, maps, H, W]`` to ``[N, width]``."""
        # Every second line will do: next ones resemble each other, and the work is halved.
        lines = ((residuals[:, :, ::2], _COLUMNS), (residuals[..., ::2], _ROWS))
        return torch.cat([self._patterns(taken, along, step) for step in _STEPS for taken, along in lines], 1)

    def _patterns(self, residuals: Tensor, along: int, step: float) -> Tensor:
        low, high = (residuals < -step / 2).float(), (residuals > step / 2).float()
        levels = torch.stack([low, 1 - low - high, high], 2)
        size = int(residuals.shape[along]) - _NEIGHBOURS + 1
        first, second, third = (levels.narrow(along + 1, place, size) for place in range(_NEIGHBOURS))
        pairs = (first.unsqueeze(3) * second.unsqueeze(2)).flatten(4).flatten(2, 3)
        counts = (third.flatten(3) @ pairs.transpose(2, 3)).transpose(2, 3).flatten(2) @ self.gather
        return (counts / int(pairs.shape[3]) + _FLOOR).log().flatten(1)


def _alike() -> Tensor:
    """Mean over the patterns that are each other's mirror image or negative: ``[27, 10]``."""
    patterns = list(itertools.product((-1, 0, 1), repeat=_NEIGHBOURS))
    kinds = {
        pattern: min(pattern, pattern[::-1], *(tuple(-x for x in p) for p in (pattern, pattern[::-1])))
        for pattern in patterns
    }
    columns = sorted(set(kinds.values()))
    gather = torch.zeros(len(patterns), len(columns))
    for row, pattern in enumerate(patterns):
        gather[row, columns.index(kinds[pattern])] = 1
    return gather / gather.sum(0)
