"""The spectrum is that of the fast Fourier transform, each frequency once, and without a block's level."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks.spectrum import Spectrum

SIZE = 16


def seen(
    planes: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    spectrum = Spectrum(SIZE)
    found = spectrum(torch.from_numpy(planes)).numpy()
    assert found.shape == (len(planes), planes.shape[1] * spectrum.width)
    return np.asarray(found)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(SIZE, 50))
def test_it_is_that_of_the_fourier_transform(seed: int, side: int) -> None:
    planes = np.random.default_rng(seed).normal(100, 20, (2, 2, side, side)).astype(np.float32)
    whole = side // SIZE * SIZE
    blocks = planes[:, :, :whole, :whole].reshape(2, 2, whole // SIZE, SIZE, whole // SIZE, SIZE)
    window = np.hanning(SIZE + 1)[:SIZE]
    transformed = np.fft.fft2(blocks.transpose(0, 1, 2, 4, 3, 5).astype(np.float64) * np.outer(window, window))
    power = np.log((np.abs(transformed) ** 2).mean((2, 3)) + 0.1)
    found = seen(planes).reshape(2, 2, -1)
    for one, kept in zip(power.reshape(4, SIZE, SIZE), found.reshape(4, -1), strict=True):
        told = {round(float(value), 3) for value in kept}
        frequencies = [(y, x) for y in range(SIZE) for x in range(SIZE)]
        next_to_zero = {(y, x) for y in (-1 % SIZE, 0, 1) for x in (-1 % SIZE, 0, 1)}
        for place in set(frequencies) - next_to_zero:
            assert min(abs(one[place] - value) for value in told) < 0.01
        # The mirror image of a frequency says the same: no value is told twice.
        assert len(kept) == len({min(place, (-place[0] % SIZE, -place[1] % SIZE)) for place in frequencies}) - 5


def test_a_grid_stands_out_of_few_frequencies() -> None:
    plane = np.full((1, 1, 64, 64), 50, np.float32)
    plane += 3 * (np.arange(64) % 4 == 0)[None, None, None].astype(np.float32)
    found = np.sort(seen(plane)[0])
    assert found[-1] > 5 + np.median(found)
    assert (found > found[-1] - 3).sum() < 20


def test_brightness_says_nothing() -> None:
    planes = np.random.default_rng(1).normal(100, 5, (1, 1, 64, 64)).astype(np.float32)
    assert np.allclose(seen(planes), seen(planes + 100), atol=0.01)
