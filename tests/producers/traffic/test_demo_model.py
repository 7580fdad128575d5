"""The demo's promise: its model knows the calm families and misses the one that enters."""

import zipfile

import pytest

from models.bundle import Bundle
from models.classifier import Classifier
from models.decode import decode
from producers.traffic import scenario, scenes

SIZE = 224


@pytest.fixture(scope="module")
def judge():
    bundle = Bundle.named("demo")
    classifier = Classifier.load(bundle, provider="cpu", threads=1)

    def verdicts(pictures):
        prepared = [classifier.prepare(decode(data)) for data in pictures]
        return [bundle.calibration.verdict(score.p_ai) for score in classifier.predict(prepared)]

    return verdicts


def test_the_calm_families_are_the_ones_it_was_trained_on():
    known = {source.name for source in Bundle.named("demo").manifest.training_data.sources}
    assert known == {f"real/{scenes.CAMERA}", *(f"fake/{family}" for family in scenes.DEMO_FAMILIES)}
    for name in ("new-family", "poisoned-labels"):
        calm, entering = scenario.load(name).phases
        assert set(calm.families) == set(scenes.DEMO_FAMILIES)
        assert set(entering.families) - set(calm.families) == {"raster"}


def test_it_judges_the_golden_set_well(judge, tmp_path):
    path = tmp_path / "golden.zip"
    assert scenes.golden(path, pictures=40) == 40
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        said = judge(archive.read(name) for name in names)
    right = sum((name.startswith("fake/"), verdict) in {(True, "ai_generated"), (False, "authentic")}
                for name, verdict in zip(names, said, strict=True))  # fmt: skip
    assert right >= 37


def test_it_misses_the_family_that_enters(judge):
    said = judge(scenes.deliver(scenes.machine_made(seed, SIZE, "raster")) for seed in range(900, 920))
    assert said.count("ai_generated") <= 3
