"""Statistics of a picture's finest structure, whatever the picture shows: fixed, nothing of them is learned.

What decoders leave behind is often no shape but a change of the noise: its level, how neighbouring pixels agree, lines
and grids of a period, a spectrum that falls off too soon. A network trained to name things averages that away. These
are the measures of camera forensics on high-pass residuals (`models.networks.srm`) and on the spectrum of small blocks
(R. Durall, M. Keuper and J. Keuper, "Watch your up-convolution", CVPR 2020), in grey levels of 0..255.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.networks.cooccurrence import Cooccurrences
from models.networks.srm import Residuals

_GREY = (0.299, 0.587, 0.114)
_DIFFERENCES = ((0, 1), (2, 1))
_LIMIT = 24.0
_FLAT = 0.5
_SMALL = 0.02
_FLOOR = 0.1
_PERIODS = (2, 4, 8)
_LAGS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))
_PAIRS = ((4, 5), (4, 6), (5, 6), (0, 1), (2, 3))
_PATTERNED = (0, 4)
_PATCH = 16
_GREY_BLOCK, _COLOUR_BLOCK = 32, 16

MAPS = 7
"""Five residuals of the grey picture and the finest one of two colour differences."""


class Texture(nn.Module):
    """float32 pixels of 0..255, ``[N, 3, S, S]``, to statistics ``[N, width]``; S is at least 32.

    Attributes:
        widths: How many measures of strength and period there are, and how many patterns of neighbours behind them.
        width: Of both together.
    """

    kernels: Tensor
    finest: Tensor
    grey: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = Residuals().filters
        single = filters[: len(filters) // 3]
        self.register_buffer("kernels", single.clone())
        self.register_buffer("finest", single[-1:].repeat(2, 1, 1, 1))
        self.register_buffer("grey", torch.tensor(_GREY).view(3, 1, 1))
        for size in (_GREY_BLOCK, _COLOUR_BLOCK):
            for name, table in zip(("cosines", "sines", "window"), _transform(size), strict=True):
                self.register_buffer(f"{name}{size}", table)
        spectra = sum(times * (size * (size // 2 + 1) - 1) for times, size in ((1, _GREY_BLOCK), (2, _COLOUR_BLOCK)))
        of_a_map = 5 + len(_LAGS) + 2 * len(_PERIODS) + 2 + 4
        self.cooccurrences = Cooccurrences(len(_PATTERNED))
        self.widths = MAPS * of_a_map + len(_PAIRS) + spectra, self.cooccurrences.width
        self.width = sum(self.widths)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 ``[N, 3, S, S]`` to ``[N, width]``."""
        grey = (pixels * self.grey).sum(1, keepdim=True)
        colours = torch.stack([pixels[:, plus] - pixels[:, minus] for plus, minus in _DIFFERENCES], 1)
        plain, coloured = nn.functional.conv2d(grey, self.kernels), nn.functional.conv2d(colours, self.finest, groups=2)
        residuals = torch.cat([plain, coloured], 1).clamp(-_LIMIT, _LIMIT)
        sizes, squares = residuals.abs(), residuals * residuals
        mean, power = sizes.mean((2, 3)), squares.mean((2, 3)) + _SMALL**2
        deviation = power.sqrt()
        fourth = ((squares * squares).mean((2, 3)) + _SMALL**4).sqrt().sqrt()
        flat = (sizes < _FLAT).float().mean((2, 3))
        parts = [(mean + _SMALL).log(), deviation.log(), (mean + _SMALL) / deviation, fourth / deviation, flat]
        parts += [_shifted(residuals, down, right) / power for down, right in _LAGS]
        for across in (2, 3):
            parts += [_periodic(sizes.mean(across), period) / (mean + _SMALL) for period in _PERIODS]
            lines = residuals.mean(across)
            parts.append(((lines * lines).mean(2) * residuals.shape[across] / power + _SMALL).log())
        local = nn.functional.avg_pool2d(squares, _PATCH).flatten(2).add(_SMALL).log()
        usual = local.mean(2, keepdim=True)
        parts += [usual.flatten(1), ((local - usual) * (local - usual)).mean(2).add(_SMALL**2).sqrt()]
        parts += [local.amax(2), local.amin(2)]
        parts.append(
            torch.stack(
                [
                    (residuals[:, one] * residuals[:, other]).mean((1, 2)) / (deviation[:, one] * deviation[:, other])
                    for one, other in _PAIRS
                ],
                1,
            )
        )
        parts.append(self._spectrum((pixels * self.grey).sum(1), _GREY_BLOCK))
        parts += [self._spectrum(pixels[:, plus] - pixels[:, minus], _COLOUR_BLOCK) for plus, minus in ((0, 1), (2, 1))]
        parts.append(self.cooccurrences(plain[:, list(_PATTERNED)]))
        return torch.cat(parts, 1)

    def _spectrum(self, plane: Tensor, size: int) -> Tensor:
        """Logarithm of the mean power of blocks ``size`` wide, by frequency: ``[N, S, S]`` to ``[N, …]``."""
        cosines, sines, window = (getattr(self, f"{name}{size}") for name in ("cosines", "sines", "window"))
        high, wide = (int(side) // size for side in plane.shape[1:])
        blocks = plane[:, : high * size, : wide * size].reshape(-1, high, size, wide, size).permute(0, 1, 3, 2, 4)
        level = (blocks * window).sum((3, 4), keepdim=True) / window.sum()
        blocks = (blocks - level) * window
        half = size // 2 + 1
        even, odd = blocks @ cosines[:, :half], blocks @ sines[:, :half]
        real, imaginary = cosines @ even - sines @ odd, cosines @ odd + sines @ even
        power = (real * real + imaginary * imaginary).mean((1, 2))
        # Frequency zero is what was taken off: nothing but rounding.
        powers: Tensor = power.flatten(1)[:, 1:]
        return (powers + _FLOOR).log()


def _shifted(residuals: Tensor, down: int, right: int) -> Tensor:
    """Mean product of pixels so far apart, ``[N, MAPS]``."""
    height, width = (int(side) for side in residuals.shape[2:])
    product: Tensor = residuals[:, :, down:, right:] * residuals[:, :, : height - down, : width - right]
    return product.mean((2, 3))


def _periodic(profile: Tensor, period: int) -> Tensor:
    """How much a profile ``[N, MAPS, S]`` repeats with a period: mean deviation of its phases' means."""
    whole = int(profile.shape[2]) // period
    phases = profile[:, :, : whole * period].reshape(-1, MAPS, whole, period).mean(2)
    return (phases - phases.mean(2, keepdim=True)).abs().mean(2)


def _transform(size: int) -> Sequence[Tensor]:
    """Cosines and sines of the discrete Fourier transform, and Hann's window of a block."""
    steps = torch.arange(size, dtype=torch.float64)
    angles = 2 * math.pi * torch.outer(steps, steps) / size
    window = torch.hann_window(size, periodic=False, dtype=torch.float64)
    return [table.float() for table in (angles.cos(), angles.sin(), torch.outer(window, window))]
