import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from producers.traffic import scenes
from producers.traffic.scenes.camera import blur, demosaic, mosaic
from stream.errors import ConfigurationError

SIZE = 96


@pytest.mark.parametrize("family", scenes.families())
def test_equal_seeds_give_equal_machine_made_pictures_and_others_do_not(family: str) -> None:
    first = scenes.machine_made(3, SIZE, family)
    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, scenes.machine_made(3, SIZE, family))
    assert not np.array_equal(first, scenes.machine_made(4, SIZE, family))
    assert not np.array_equal(first, scenes.photograph(3, SIZE))


def test_photographs_are_deterministic_and_not_flat() -> None:
    first = scenes.photograph(11, SIZE)
    assert np.array_equal(first, scenes.photograph(11, SIZE))
    assert first.std() > 5


def test_families_differ_on_the_same_scene() -> None:
    made = [scenes.machine_made(5, SIZE, family).astype(float) for family in scenes.families()]
    distances = [np.abs(one - other).mean() for i, one in enumerate(made) for other in made[:i]]
    assert min(distances) > 0.5


def test_some_families_are_kept_out_of_training() -> None:
    assert len(scenes.families()) >= 6
    assert len(scenes.UNSEEN_FAMILIES) >= 2
    assert not set(scenes.TRAINED_FAMILIES) & set(scenes.UNSEEN_FAMILIES)


def test_machine_made_pictures_keep_what_the_scene_shows() -> None:
    photograph = Image.fromarray(scenes.photograph(9, SIZE)).reduce(8)
    for family in scenes.families():
        made = Image.fromarray(scenes.machine_made(9, SIZE, family)).reduce(8)
        assert np.abs(np.asarray(made, float) - np.asarray(photograph, float)).mean() < 25, family


@pytest.mark.parametrize(("tier", "side"), [("clean", 1000), ("web", 768), ("hard", 512)])
def test_tiers_reduce_the_long_side(tier: str, side: int) -> None:
    pixels = np.zeros((1000, 500, 3), np.uint8)
    assert max(Image.open(io.BytesIO(scenes.deliver(pixels, tier))).size) == side


def test_harder_tiers_are_smaller_files() -> None:
    pixels = scenes.photograph(2, 256)
    sizes = [len(scenes.deliver(pixels, tier)) for tier in scenes.TIERS]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_encodes_in_three_formats(kind: str) -> None:
    assert Image.open(io.BytesIO(scenes.encode(scenes.photograph(1, 64), 80, kind))).format == kind


def test_unknown_names_are_refused_in_words() -> None:
    pixels = scenes.photograph(1, 64)
    with pytest.raises(ConfigurationError, match="no decoder family 'dream'"):
        scenes.machine_made(1, 64, "dream")
    with pytest.raises(ConfigurationError, match="no delivery tier 'soft'"):
        scenes.deliver(pixels, "soft")
    with pytest.raises(ConfigurationError, match="'GIF'"):
        scenes.encode(pixels, 80, "GIF")


def test_an_export_may_be_delivered_as_traffic_is(tmp_path: Path) -> None:
    path = tmp_path / "scenes.zip"
    scenes.export(path, seed=2, per_family=12, size=32, families=("nearest",), delivered=True)
    with zipfile.ZipFile(path) as archive:
        tables = {str(Image.open(archive.open(name)).quantization) for name in archive.namelist()}
    assert len(tables) == len(scenes.DELIVERED)


def test_export_is_an_image_folder_and_reproducible(tmp_path: Path) -> None:
    paths = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for path in paths:
        assert scenes.export(path, seed=2, per_family=2, size=64, families=("nearest", "grain")) == 8
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as archive:
        folders = [name.rpartition("/")[0] for name in archive.namelist()]
    assert sorted(set(folders)) == ["fake/grain", "fake/nearest", "real/simulated-camera"]
    assert folders.count("real/simulated-camera") == 4


def test_demosaicing_restores_a_grey_ramp() -> None:
    ramp = np.repeat(np.linspace(0, 1, 32, dtype=np.float32)[None, :, None], 32, 0).repeat(3, 2)
    for corrected in (False, True):
        restored = demosaic(mosaic(ramp), corrected=corrected)
        assert np.abs(restored - ramp)[2:-2, 2:-2].max() < 1e-5


def test_blur_keeps_the_sum_inside() -> None:
    point = np.zeros((11, 11), np.float32)
    point[5, 5] = 1
    spread = blur(point, 1.0)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert spread[5, 5] < 0.3
