"""The bundles this release ships: whole, small enough, able to learn, and honest about where they come from."""

from pathlib import Path

import pytest

from models.adaptation import replay
from models.bundle import Bundle, shipped
from models.classifier import Classifier
from models.dataset.manifest import DataManifest
from models.decode import decode
from models.manifest import CARD, DATA, MANIFEST
from models.recipes import load
from tests.models.pictures import encoded, gradient

LIMITS = {"default": 8 * 2**20, "cifake-32": 4 * 2**20, "demo": 8 * 2**20}


@pytest.fixture(params=sorted(LIMITS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_these_are_shipped() -> None:
    assert set(shipped()) == set(LIMITS)
    assert Bundle.default() == Bundle.named("default")


def test_they_are_small_and_say_how_they_were_made(name: str) -> None:
    bundle = Bundle.named(name)
    assert sum(len(data) for data in bundle.files.values()) <= LIMITS[name]
    assert f"veristream models train --recipe {name}" in bundle.files[CARD].decode()
    recipe = load(name)
    version, _, _ = bundle.manifest.version.partition("+")  # a reference that was added counts up behind it
    assert (bundle.manifest.name, version) == (recipe.name, recipe.version)
    assert (bundle.manifest.input.crops, bundle.manifest.precision) == (recipe.crops, recipe.served)


def test_they_score_pictures_of_any_size(name: str) -> None:
    classifier = Classifier.load(Bundle.named(name), provider="cpu")
    sides = ((20, 30), (32, 32), (500, 333))
    pictures = [decode(encoded(gradient(*size), "PNG")) for size in sides]
    scores = classifier.predict([classifier.prepare(picture) for picture in pictures])
    assert all(0 <= score.p_ai <= 1 and score.embedding.shape == (64,) for score in scores)
    alone = [classifier.predict([classifier.prepare(picture)])[0] for picture in pictures]
    assert max(abs(one.p_ai - other.p_ai) for one, other in zip(scores, alone, strict=True)) <= 1e-3


def test_they_can_be_adapted_and_name_their_data(name: str) -> None:
    bundle = Bundle.named(name)
    kept = replay.read(bundle)
    manifest = DataManifest.from_bytes(bundle.files[DATA], where=name)
    assert set(kept.labels.tolist()) == {0, 1}
    assert set(kept.sources.tolist()) <= {source.name for source in manifest.sources}


def test_their_manifests_are_what_is_written_today(name: str) -> None:
    bundle = Bundle.named(name)
    assert DataManifest.from_bytes(bundle.files[DATA], where=name).to_bytes() == bundle.files[DATA]
    assert bundle.manifest.to_bytes() == bundle.files[MANIFEST]
    assert bundle.manifest.digest == bundle.digest


def test_the_notice_names_what_the_weights_start_from() -> None:
    notice = Path(__file__).parents[2].joinpath("NOTICE").read_text()
    for name in LIMITS:
        assert f"models/bundles/{name}" in notice
