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


class Cooccurrences(nn.Module):
    """Residuals of three neighbouring lines, ``[N, maps, 3, B, W]``, to logarithms of frequencies ``[N, width]``.

    Patterns run across the three lines, and along the middle one.

    Args:
        maps: How many maps there will be.

    Attributes:
        width: How many frequencies there are.
    """

    frequencies: Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        frequencies = _from_sums()
        self.register_buffer("frequencies", frequencies)
        self.width = maps * len(_STEPS) * 2 * frequencies.shape[1]

    def forward(self, lines: Tensor) -> Tensor:
        """``[N, maps, 3, B, W]`` to ``[N, width]``."""
        size = int(lines.shape[4]) - _NEIGHBOURS + 1
        parts = []
        for step in _STEPS:
            above, middle, below = (lines * (1 / step)).round().clamp(-1, 1).unbind(2)
            parts.append(self._patterns(middle[..., :size], middle[..., 1 : size + 1], middle[..., 2:]))
            parts.append(self._patterns(above, middle, below))
        return torch.cat(parts, 1)

    def _patterns(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Levels of -1, 0 and 1 that follow each other, each ``[N, maps, …, …]``, to ``[N, maps * kinds]``.

        Counting needs no pass for every pattern: what is alike under mirror image and negative is given by ten sums of
        products. They are whole numbers, which float32 holds exactly.
        """
        ab, bc, ac = a * b, b * c, a * c
        pairs, triples = ab + bc, ab * bc
        count = int(a.shape[2]) * int(a.shape[3])
        sums = [
            torch.full_like(a[:, :, 0, 0], count),
            _size(a) + _size(c), _size(b), _size(ab) + _size(bc), _size(ac), _size(triples),
            *(products.sum((2, 3)) for products in (pairs, ac, ac * pairs, triples)),
        ]  # fmt: skip
        counts = (torch.stack(sums, 2) @ self.frequencies).clamp_min(0)
        return (counts / count + _FLOOR).log().flatten(1)


def _size(levels: Tensor) -> Tensor:
    """Sum of absolute values, ``[N, maps]``."""
    size: Tensor = levels.abs().sum((2, 3))
    return size


def _from_sums() -> Tensor:
    """From the ten sums to how often a pattern of each kind was found, ``[10, 10]``.

    A kind is the patterns that are each other's mirror image or negative, named by the least. Row k of the inverse
    says what one pattern of kind k adds to each sum.
    """
    kinds: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for pattern in itertools.product((-1, 0, 1), repeat=_NEIGHBOURS):
        negative = tuple(-x for x in pattern)
        alike = {pattern, pattern[::-1], negative, negative[::-1]}
        kinds[min(alike)] = alike
    added = torch.tensor(
        [
            [
                1,
                abs(a) + abs(c), abs(b), abs(a * b) + abs(b * c), abs(a * c), abs(a * b * c),
                a * b + b * c, a * c, a * c * (a * b + b * c), a * b * b * c,
            ]
            for a, b, c in sorted(kinds)
        ],
        dtype=torch.float64,
    )  # fmt: skip
    sizes = torch.tensor([len(kinds[least]) for least in sorted(kinds)], dtype=torch.float64)
    frequencies: Tensor = torch.linalg.inv(added) / sizes
    # All are whole eighths, so that counts come out whole.
    return (frequencies * 8).round().float() / 8
