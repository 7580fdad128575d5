import hashlib
import io
from collections import Counter
from random import Random

import pytest
from PIL import Image

from producers.sources import FolderSource, open_source
from producers.traffic.image_folder import ImageFolder
from producers.traffic.scenes import TIERS
from producers.traffic.supply import open_pictures
from stream.errors import ConfigurationError, NotAnImage
from stream.settings import BlobSettings
from tests.producers.pictures import jpeg
from tests.producers.test_sources import make_zip

FILES = {
    **{f"real/phone/{number}.jpg": jpeg(number, 64) for number in range(6)},
    **{f"real/slr/{number}.jpg": jpeg(10 + number, 64) for number in range(2)},
    **{f"fake/gan/{number}.jpg": jpeg(20 + number, 64) for number in range(4)},
    "fake/loose.png": jpeg(30, 64),
    "metadata.csv": b"file,label",
}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture
def pictures(folder):
    return ImageFolder(FolderSource(folder))


def test_folders_are_families_and_all_count_as_trained(pictures):
    assert pictures.families() == {"gan": ("gan",), "fake": ("fake",), "trained": ("fake", "gan")}


def test_photographs_are_drawn_from_all_sources_and_each_once_before_any_twice(pictures):
    random = Random(1)
    drawn = [pictures.subject("ai_generated", "gan", random) for _ in range(12)]
    assert set(Counter(drawn).values()) == {3}
    families = Counter(pictures.subject("authentic", None, random).family for _ in range(400))
    assert families["phone"] > 2 * families["slr"] > 0


def test_clean_is_the_files_own_bytes_the_first_time_only(pictures):
    random = Random(1)
    subject = pictures.subject("ai_generated", "gan", random)
    first = pictures.shoot(subject, "clean", random)
    assert first == FILES[f"fake/gan/{subject.number}.jpg"]
    later = {hashlib.sha256(pictures.shoot(subject, "clean", random)).digest() for _ in range(20)}
    assert hashlib.sha256(first).digest() not in later
    assert len(later) > 15


@pytest.mark.parametrize("tier", TIERS)
def test_near_duplicates_differ_in_pixels_and_stay_close(pictures, tier):
    random = Random(2)
    subject = pictures.subject("authentic", None, random)
    shots = [pictures.shoot(subject, tier, random) for _ in range(12)]
    assert len(set(shots)) > 10
    sides = [side for shot in shots for side in Image.open(io.BytesIO(shot)).size]
    least = 0.54 if tier == "hard" else 1.0
    assert all(56 * least <= side <= 64 for side in sides)


def test_a_zip_of_an_enclosing_folder(tmp_path):
    path = make_zip(tmp_path / "set.zip", {f"set/{name}": data for name, data in FILES.items()})
    with open_pictures(path, BlobSettings()) as pictures:
        assert pictures.families()["trained"] == ("fake", "gan")


def test_a_layout_without_real_and_fake_is_told(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.jpg").write_bytes(jpeg())
    with pytest.raises(ConfigurationError, match="real/ and fake/"):
        ImageFolder(open_source(str(tmp_path), BlobSettings()))


def test_no_photographs_where_some_are_asked_for(tmp_path):
    path = make_zip(tmp_path / "fakes.zip", {"fake/1.jpg": jpeg()})
    with open_pictures(path, BlobSettings()) as pictures, pytest.raises(ConfigurationError, match="fake_share: 1"):
        pictures.subject("authentic", None, Random(1))


def test_a_broken_picture_is_told(tmp_path):
    path = make_zip(tmp_path / "broken.zip", {"real/1.jpg": jpeg()[:100]})
    with open_pictures(path, BlobSettings()) as pictures:
        subject = pictures.subject("authentic", None, Random(1))
        with pytest.raises(NotAnImage, match=r"real/1\.jpg"):
            pictures.shoot(subject, "web", Random(1))
