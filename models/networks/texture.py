"""Statistics of a picture's finest structure, whatever the picture shows: fixed, nothing of them is learned.

What decoders leave behind is often no shape but a change of the noise: its level, how neighbouring pixels agree, lines
and grids of a period, a spectrum that falls off too soon. A network trained to name things averages that away. These
are the measures of camera forensics on high-pass residuals (`models.networks.srm`) and on the spectrum of small blocks,
in grey levels of 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from models.networks.bands import COLOURS, EVERY, GREY, LINES, Bands, cut
from models.networks.cooccurrence import Cooccurrences
from models.networks.spectrum import Spectrum

_MAPS = GREY + COLOURS
_GREY = (0.299, 0.587, 0.114)
_DIFFERENCES = ((1.0, -1.0, 0.0), (0.0, -1.0, 1.0))
_FLAT = 0.5
_SMALL = 0.02
_PERIODS = (2, 4, 8)
_LAGS = 5
_PAIRS = ((4, 5), (4, 6), (5, 6), (0, 1), (2, 3))
_PATTERNED = GREY - 1
"""Patterns are counted in the first residual of the grey picture and in the one so many behind it, the finest."""

_PATCH = 2, 16
_GREY_BLOCK, _COLOUR_BLOCK = 32, 16


class Texture(nn.Module):
    """float32 pixels of 0..255, ``[N, 3, S, S]``, to statistics ``[N, width]``; S is at least 32.

    Attributes:
        widths: How many measures of strength and period there are, and how many patterns of neighbours behind them.
        width: Of both together.
    """

    grey: Tensor
    differences: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grey", torch.tensor([_GREY]))
        self.register_buffer("differences", torch.tensor(_DIFFERENCES))
        self.bands = Bands()
        self.spectrum, self.coloured = Spectrum(_GREY_BLOCK), Spectrum(_COLOUR_BLOCK)
        self.cooccurrences = Cooccurrences(2)
        of_a_map = 5 + _LAGS + 2 * len(_PERIODS) + 2 + 4
        spectra = self.spectrum.width + COLOURS * self.coloured.width
        self.widths = _MAPS * of_a_map + len(_PAIRS) + spectra, self.cooccurrences.width
        self.width = sum(self.widths)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 ``[N, 3, S, S]`` to ``[N, width]``."""
        high, wide = (int(side) for side in pixels.shape[2:])
        colours = pixels.flatten(2)
        grey = (self.grey @ colours).reshape(-1, 1, high, wide)
        differences = (self.differences @ colours).reshape(-1, COLOURS, high, wide)
        plain, coloured = self.bands(grey, differences)
        parts = [_measures((plain, coloured)), self.spectrum(grey), self.coloured(differences)]
        parts.append(self.cooccurrences(plain[:, ::_PATTERNED]))
        return torch.cat(parts, 1)


def _measures(residuals: Sequence[Tensor]) -> Tensor:
    """Maps ``[N, …, LINES, B, W]``, first grey ones, to ``[N, …]``."""
    # Profiles need all lines. Of single pixels every second band will do: more of them measured no better.
    above, middle, below = torch.cat([maps[:, :, :, ::2] for maps in residuals], 1).unbind(2)
    squares = middle * middle
    mean, power = middle.abs().mean((2, 3)), squares.mean((2, 3)) + _SMALL**2
    deviation = power.sqrt()
    fourth = ((squares * squares).mean((2, 3)) + _SMALL**4).sqrt().sqrt()
    flat = middle.clamp(-_FLAT, _FLAT).abs().mean((2, 3))
    parts = [(mean + _SMALL).log(), deviation.log(), (mean + _SMALL) / deviation, fourth / deviation, flat]
    right = middle[..., 1:]
    lagged = ((middle[..., :-1], right), (above, middle), (middle[..., :-2], middle[..., 2:]), (above, below))
    for one, other in (*lagged, (above[..., :-1], right)):
        parts.append((one * other).mean((2, 3)) / power)
    bands, width = (int(side) for side in residuals[0].shape[3:])
    lines = tuple(EVERY * band + line for line in range(LINES) for band in range(bands))
    for profile, places in zip(
        _profiles([maps.abs() for maps in residuals]), (lines, tuple(range(width))), strict=True
    ):
        parts += [found / (mean + _SMALL) for found in _periodic(profile, places)]
    for profile, count in zip(_profiles(residuals), (width, len(lines)), strict=True):
        parts.append(((profile * profile).mean(2) * count / power + _SMALL).log())
    parts += _local(squares)
    ones, others = ([pair[side] for pair in _PAIRS] for side in (0, 1))
    product = (middle[:, ones] * middle[:, others]).mean((2, 3))
    parts.append(product / (deviation[:, ones] * deviation[:, others]))
    return torch.cat(parts, 1)


def _profiles(residuals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean of each line, ``[N, maps, LINES * B]``, and of each column, ``[N, maps, W]``."""
    by_line = torch.cat([maps.mean(4).flatten(2) for maps in residuals], 1)
    return by_line, torch.cat([maps.mean((2, 3)) for maps in residuals], 1)


def _local(squares: Tensor) -> list[Tensor]:
    """How unevenly power ``[N, maps, B, W]`` is spread over a picture: four statistics of patches, ``[N, maps]``."""
    bands, columns = _PATCH
    high, wide, across = int(squares.shape[2]) // bands, int(squares.shape[3]) // columns, int(squares.shape[3])
    lines = cut(squares, high * bands, across).reshape(-1, _MAPS, high, bands, across).mean(3)
    patches = cut(lines, high, wide * columns).reshape(-1, _MAPS, high, wide, columns).mean(4)
    local = patches.flatten(2).add(_SMALL).log()
    usual = local.mean(2, keepdim=True)
    spread = ((local - usual) * (local - usual)).mean(2).add(_SMALL**2).sqrt()
    return [usual.flatten(1), spread, local.amax(2), local.amin(2)]


def _periodic(profile: Tensor, places: tuple[int, ...]) -> list[Tensor]:
    """How much a profile ``[N, maps, P]`` repeats with each period: mean deviation of its phases' means."""
    shares = torch.from_numpy(_phases(places)).to(profile.device)
    deviations = (shares @ profile.transpose(1, 2)).abs()
    return [found.mean(1) for found in torch.split(deviations, list(_PERIODS), 1)]


@lru_cache
def _phases(places: tuple[int, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """What each place adds to the deviation of each phase of each period, ``[phases, P]``."""
    found = []
    for period in _PERIODS:
        belongs = np.asarray(places) % period == np.arange(period)[:, None]
        shares = belongs / belongs.sum(1, keepdims=True)
        found.append(shares - shares.mean(0))
    return np.concatenate(found).astype(np.float32)
