import numpy as np
import pytest

from models.reconstruction import families, learned, reconstruct
from stream.errors import ConfigurationError


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("shape", [(64, 64), (37, 51)])
def test_shape_is_kept_and_equal_seeds_agree(family: str, shape: tuple[int, int]) -> None:
    pixels = picture(*shape)
    made = reconstruct(pixels, family, seed=1)
    assert made.shape == pixels.shape
    assert made.dtype == np.uint8
    assert np.array_equal(made, reconstruct(pixels, family, seed=1))


def test_grain_depends_on_the_seed() -> None:
    assert not np.array_equal(reconstruct(picture(64, 64), "grain", 1), reconstruct(picture(64, 64), "grain", 2))


def test_learned_decoders_are_small() -> None:
    for family in learned.LEARNED:
        assert (learned.WEIGHTS / f"{family}.onnx").stat().st_size <= 100_000


def test_unknown_family_and_missing_weights_are_said_in_words() -> None:
    with pytest.raises(ConfigurationError, match="no decoder family"):
        reconstruct(picture(8, 8), "dream")
    with pytest.raises(ConfigurationError, match="weights are missing"):
        learned.session("not-there")
