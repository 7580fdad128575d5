"""Co-occurrences are what counting finds, whichever way round and whichever sign the residuals have."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks.cooccurrence import Cooccurrences

Maps = np.ndarray[tuple[int, int, int, int, int], np.dtype[np.float32]]
KINDS = 10


def seen(residuals: Maps) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Frequencies of lines ``[N, maps, 3, B, W]``: ``[N, steps, along and across, maps, kinds]``."""
    measured = Cooccurrences(residuals.shape[1])
    with torch.inference_mode():
        found = measured(torch.from_numpy(np.ascontiguousarray(residuals)))
    assert found.shape == (len(residuals), measured.width)
    return np.exp(found.double().numpy()).reshape(len(residuals), 2, 2, residuals.shape[1], KINDS) - 1e-4


def counted(plane: np.ndarray[tuple[int, int], np.dtype[np.float32]], step: float) -> list[float]:
    """The frequencies of a plane's patterns along its rows by counting; least pattern first."""
    levels = np.where(plane > step / 2, 1, np.where(plane < -step / 2, -1, 0))
    found = [tuple(int(x) for x in row[at : at + 3]) for row in levels for at in range(len(row) - 2)]
    groups: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for pattern in itertools.product((-1, 0, 1), repeat=3):
        negative = tuple(-x for x in pattern)
        alike = {pattern, pattern[::-1], negative, negative[::-1]}
        groups[min(alike)] = alike
    return [sum(found.count(p) for p in groups[least]) / len(found) / len(groups[least]) for least in sorted(groups)]


@settings(max_examples=15)
@given(st.integers(0, 2**31))
def test_frequencies_are_those_that_counting_finds(seed: int) -> None:
    residuals = np.random.default_rng(seed).normal(0, 2, (2, 3, 3, 12, 17)).astype(np.float32)
    found = seen(residuals)
    for picture, number, (place, step) in itertools.product(range(2), range(3), enumerate((1.0, 3.0))):
        lines = residuals[picture, number]
        assert np.allclose(found[picture, place, 0, number], counted(lines[1], step), atol=1e-5)
        assert np.allclose(found[picture, place, 1, number], counted(lines.reshape(3, -1).T, step), atol=1e-5)


def test_a_mirrored_or_negative_picture_is_the_same() -> None:
    residuals = np.random.default_rng(3).normal(0, 2, (1, 2, 3, 33, 33)).astype(np.float32)
    assert np.allclose(seen(residuals), seen(-residuals), atol=1e-6)
    assert np.allclose(seen(residuals), seen(residuals[:, :, ::-1, ::-1, ::-1]), atol=1e-6)


def test_an_order_that_no_strength_shows_is_seen() -> None:
    rng = np.random.default_rng(5)
    plain = rng.choice([-4.0, 0.0, 4.0], (1, 1, 3, 64, 64)).astype(np.float32)
    sorted_rows = np.sort(plain, -1)
    assert np.abs(seen(plain) - seen(sorted_rows))[0, :, 0].max() > 0.1
