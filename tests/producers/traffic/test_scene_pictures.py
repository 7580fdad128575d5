import io
from random import Random

import numpy as np
import pytest
from PIL import Image

from models.decode import decode
from producers.traffic.pictures import Subject
from producers.traffic.scene_pictures import SIZE, ScenePictures
from producers.traffic.scenes import CAMERA, TRAINED_FAMILIES, UNSEEN_FAMILIES


@pytest.fixture(scope="module")
def pictures():
    with ScenePictures(photographs=2, per_family=1) as supply:
        yield supply


def test_families_are_those_of_the_scenes_and_come_in_two_groups(pictures):
    families = pictures.families()
    assert families["trained"] == TRAINED_FAMILIES
    assert families["unseen"] == UNSEEN_FAMILIES
    assert all(families[name] == (name,) for name in (*TRAINED_FAMILIES, *UNSEEN_FAMILIES))


@pytest.mark.parametrize("tier", ["clean", "web", "hard"])
def test_shots_are_pictures_that_a_worker_opens_and_each_differs(pictures, tier):
    random = Random(1)
    subject = pictures.subject("authentic", None, random)
    shots = [pictures.shoot(subject, tier, random) for _ in range(12)]
    assert len(set(shots)) == 12
    opened = [decode(shot, "image/jpeg") for shot in shots]
    assert all(max(picture.pixels.shape) <= SIZE for picture in opened)
    assert (opened[0].pixels.shape[:2] == (SIZE, SIZE)) == (tier != "hard")


def test_the_same_draws_give_the_same_bytes(pictures):
    wanted = [("authentic", None), ("ai_generated", TRAINED_FAMILIES[0]), ("ai_generated", UNSEEN_FAMILIES[0])] * 4
    runs = []
    for _ in range(2):
        with ScenePictures(photographs=2, per_family=1, per_new_family=1, renew_after=3) as supply:
            random = Random(3)
            runs.append([supply.shoot(supply.subject(*one, random), "clean", random) for one in wanted])
    assert runs[0] == runs[1]


def test_a_new_familys_pictures_are_renewed_as_they_are_drawn_and_the_others_stay():
    with ScenePictures(photographs=3, per_family=2, per_new_family=3, renew_after=5) as pictures:
        random = Random(1)
        new, known, photographs = (
            [pictures.subject(label, family, random).number for _ in range(40)]
            for label, family in (
                ("ai_generated", UNSEEN_FAMILIES[0]),
                ("ai_generated", TRAINED_FAMILIES[0]),
                ("authentic", None),
            )
        )
        assert set(new[:5]) <= {0, 1, 2}
        assert set(new[35:]) <= {7, 8, 9}
        assert (set(known), set(photographs)) == ({0, 1}, {0, 1, 2})
        retired = Subject("ai_generated", UNSEEN_FAMILIES[0], 0)
        assert len(pictures.shoot(retired, "clean", Random(2))) > 1000


def test_no_scene_is_on_both_sides(pictures):
    random = Random(1)
    shots = [
        pictures.shoot(pictures.subject("authentic", None, random), "clean", Random(5)),
        pictures.shoot(pictures.subject("ai_generated", "nearest", random), "clean", Random(5)),
        pictures.shoot(pictures.subject("ai_generated", "bilinear", random), "clean", Random(5)),
    ]  # fmt: skip
    flat = [np.asarray(Image.open(io.BytesIO(shot)).convert("L"), np.float64).ravel() for shot in shots]
    likeness = np.abs(np.corrcoef(flat)[np.triu_indices(3, 1)])
    assert likeness.max() < 0.9


def test_prepared_pictures_are_all_there_and_named_as_simulated():
    with ScenePictures(photographs=1, per_family=1) as pictures:
        pictures.prepare()
        assert pictures.subject("authentic", None, Random(1)).family == CAMERA == "simulated-camera"
