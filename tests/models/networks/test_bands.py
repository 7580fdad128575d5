"""Bands are lines of the residuals that the filters leave when they pass over the whole picture."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks.bands import COLOURS, EVERY, GREY, LINES, Bands
from models.networks.srm import Residuals


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(32, 60))
def test_they_are_lines_of_the_residuals(seed: int, side: int) -> None:
    planes = torch.from_numpy(np.random.default_rng(seed).uniform(0, 40, (2, 1 + COLOURS, side, side))).float()
    filters = Residuals().filters[:GREY]
    grey = torch.nn.functional.conv2d(planes[:, :1], filters)
    colours = torch.nn.functional.conv2d(planes[:, 1:], filters[-1:].repeat(COLOURS, 1, 1, 1), groups=COLOURS)
    residuals = torch.cat([grey, colours], 1).clamp(-24, 24)
    plain, coloured = Bands()(planes[:, :1], planes[:, 1:])
    found = torch.cat([plain, coloured], 1)
    bands, width = found.shape[3:]
    assert (plain.shape[:3], coloured.shape[:3]) == ((2, GREY, LINES), (2, COLOURS, LINES))
    assert EVERY * bands + LINES > side - 4 - EVERY
    assert side - 4 - width in range(4)
    for line in range(LINES):
        expected = residuals[:, :, line::EVERY, :width][:, :, :bands]
        assert torch.allclose(found[:, :, line], expected, atol=1e-4)


def test_lines_of_every_phase_of_every_period_are_met() -> None:
    met = {EVERY * band + line for band in range(6) for line in range(LINES)}
    assert all({place % period for place in met} == set(range(period)) for period in (2, 4, 8))
