"""Delivery tiers, transforms and slices: what happens to pixels, and what is said of them."""

import numpy as np
import pytest
from PIL import Image

from models.decode import decode
from models.evaluation.delivery import TIERS, delivered
from models.evaluation.pictures import Item
from models.evaluation.slices import brightness, jpeg_quality, slices
from models.evaluation.transforms import FAILURE_MODES, METAMORPHIC
from tests.models.evaluation.collections import picture
from tests.models.pictures import encoded, exif, gradient


def opened(width, height, kind="PNG", **options):
    data = encoded(gradient(width, height), kind, **options)
    return data, decode(data)


@pytest.mark.parametrize(
    ("size", "web", "hard"),
    [
        ((224, 224), (224, 224), (134, 134)),
        ((600, 300), (600, 300), (360, 180)),
        ((1024, 512), (768, 384), (512, 256)),
        ((500, 2000), (192, 768), (128, 512)),
        ((1, 1), (1, 1), (1, 1)),
    ],
)
def test_tiers_reduce_as_documented_and_never_enlarge(size, web, hard):
    _, image = opened(*size)
    assert [(made.width, made.height) for made in (delivered(image, tier) for tier in TIERS)] == [size, web, hard]


def test_tiers_are_encoded_at_their_quality():
    _, image = opened(300, 200)
    clean, web, hard = (delivered(image, tier) for tier in TIERS)
    assert clean is image
    assert web.media_type == hard.media_type == "image/jpeg"
    assert not np.array_equal(web.pixels, image.pixels)


def test_metamorphic_tests_show_the_same_picture():
    data, image = opened(64, 48, "JPEG", quality=95)
    made = {name: transform(data, image) for name, transform in METAMORPHIC.items()}
    assert np.array_equal(made["flip"].pixels[:, ::-1], image.pixels)
    assert np.array_equal(made["crop_shift"].pixels, image.pixels[3:, 5:])
    for name in ("png", "no_metadata"):
        assert np.array_equal(made[name].pixels, image.pixels)
    assert (made["resize_95"].width, made["resize_95"].height) == (61, 46)
    again = made["jpeg_q90"].pixels.astype(int)
    assert 0 < np.abs(again - image.pixels).mean() < 4
    assert all((shown.height, shown.width) == shown.pixels.shape[:2] for shown in made.values())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_removed_metadata_takes_the_orientation_with_it(kind):
    data, image = opened(64, 48, kind, exif=exif(6))
    bare = METAMORPHIC["no_metadata"](data, image)
    assert (image.width, image.height) == (48, 64)
    assert (bare.width, bare.height) == (64, 48)


def test_a_picture_of_one_pixel_survives_everything():
    data, image = opened(1, 1)
    for transform in (*METAMORPHIC.values(), *FAILURE_MODES.values()):
        assert transform(data, image).pixels.shape == (1, 1, 3)


def test_failure_modes_do_what_their_names_say():
    data, image = opened(300, 200)
    made = {name: transform(data, image) for name, transform in FAILURE_MODES.items()}
    assert brightness(made["low_light"]) < brightness(image) / 2
    assert made["scan"].pixels.min() > image.pixels.min()
    assert max(made["thumbnail"].width, made["thumbnail"].height) == 128
    noisy = picture(1, 0.5, kind="PNG")
    flat = FAILURE_MODES["denoised"](noisy, decode(noisy))
    assert flat.pixels.std() < decode(noisy).pixels.std()
    assert np.array_equal(made["low_light"].pixels, FAILURE_MODES["low_light"](data, image).pixels)


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 51, 60, 75, 90, 95, 100])
def test_the_quality_is_read_from_the_tables(quality):
    assert jpeg_quality(encoded(gradient(), "JPEG", quality=quality)) == pytest.approx(quality, abs=1)


def sliced(data, *, label=0, facts=None):
    source = f"{'fake' if label else 'real'}/somewhere"
    return slices(Item(data, label, source, "stem", facts or {}), decode(data))


def test_a_picture_is_sliced_by_its_file_and_pixels():
    assert sliced(encoded(Image.new("RGB", (300, 40), (10, 10, 10)), "JPEG", quality=80)) == {
        "source": "somewhere",
        "format": "jpeg",
        "size": "257-512",
        "quality": "70-84",
        "brightness": "0-63",
    }
    bright = sliced(encoded(Image.new("RGB", (8, 3000), "white"), "PNG"))
    assert (bright["size"], bright["quality"], bright["brightness"]) == ("over-2048", "no-jpeg", "192-255")


def test_metadata_names_generator_and_original():
    facts = {"generator": "Painter 3", "original_format": "PNG", "original_width": "900", "original_height": "1200"}
    told = sliced(picture(0, 0.5), label=1, facts=facts)
    assert (told["generator"], told["original_format"], told["original_size"]) == ("Painter 3", "png", "1025-2048")
    assert sliced(picture(0, 0.5), label=1)["generator"] == "somewhere"
    assert "generator" not in sliced(picture(0, 0.5))
