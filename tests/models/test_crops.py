import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.crops import crops, positions


def numbered(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_centre_comes_first_and_the_corners_next():
    assert positions(100, 80, 20, 5) == (
        (40, 30, 60, 50),
        (0, 0, 20, 20),
        (80, 0, 100, 20),
        (0, 60, 20, 80),
        (80, 60, 100, 80),
    )


@given(st.integers(1, 300), st.integers(1, 300), st.integers(16, 128), st.integers(1, 12))
def test_every_crop_is_the_picture_where_its_box_says(width, height, size, count):
    pixels = numbered(height, width)
    boxes = positions(width, height, size, count)
    cut = crops(pixels, size, count)
    assert cut.shape == (count, size, size, 3)
    for crop, (left, top, right, bottom) in zip(cut, boxes, strict=True):
        inside = pixels[top:bottom, left:right]
        before_y, before_x = (size - inside.shape[0]) // 2, (size - inside.shape[1]) // 2
        found = crop[before_y : before_y + inside.shape[0], before_x : before_x + inside.shape[1]]
        np.testing.assert_array_equal(found, inside)


@given(st.integers(64, 400), st.integers(64, 400), st.integers(2, 9))
def test_boxes_differ_while_there_is_room(width, height, count):
    assert len(set(positions(width, height, 16, count))) == count


def test_crops_spread_until_a_picture_is_covered():
    covered = np.zeros((96, 96), dtype=bool)
    for left, top, right, bottom in positions(96, 96, 32, 25):
        covered[top:bottom, left:right] = True
    assert covered.mean() > 0.95


def test_a_picture_of_one_place_repeats_it():
    assert positions(32, 32, 32, 3) == ((0, 0, 32, 32),) * 3


def test_a_small_picture_is_mirrored_and_never_stretched():
    row = np.arange(4, dtype=np.uint8)
    pixels = np.repeat(row[None, :, None], 3, axis=2)
    cut = crops(pixels, 8, 1)[0]
    assert cut[0, :, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert (cut == cut[:1]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 200)])
def test_the_thinnest_pictures_fill_a_crop(shape):
    pixels = numbered(*shape)
    assert crops(pixels, 64, 3).shape == (3, 64, 64, 3)


def test_equal_pictures_give_equal_crops():
    np.testing.assert_array_equal(crops(numbered(90, 70), 32, 4), crops(numbered(90, 70), 32, 4))
