import json
from pathlib import Path

import numpy as np
import pytest

from compose.cli import main
from compose.references import calm_traffic, see
from drift.reference import Reference
from models.bundle import Bundle
from models.classifier import Classifier
from models.doubles import FixedClassifier
from models.manifest import CARD, MODEL, REFERENCE
from producers.traffic.scene_pictures import ScenePictures
from producers.traffic.scenes import export, photograph
from stream.errors import ConfigurationError
from tests.models.tiny import tiny_bundle


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "scenes.zip"
    export(path, seed=1, per_family=12, size=64)
    return path


def test_a_bundle_gets_a_reference_of_its_own_embeddings(
    tmp_path: Path, zipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    arguments = ["default", "--pictures", str(zipped), "--out", str(out), "--window", "50", "--json"]
    assert main(["models", "reference", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    made, parent = Bundle.open(out), Bundle.default()
    assert (told["bundle"], told["parent"], told["pictures"]) == (made.digest, parent.digest, 168)
    assert made.manifest.parent == parent.digest
    assert made.manifest.version == f"{parent.manifest.version}+r1"
    assert made.model == parent.model
    frozen = Reference.read(made.files[REFERENCE], model_digest=made.digest)
    assert frozen.digest == told["reference"]
    assert len(frozen.vectors) == told["kept"] == 118
    blank = Classifier.load(made).predict([np.zeros((1, 224, 224, 3), np.uint8)])[0]
    assert np.isfinite(frozen.columns(blank.embedding[None], np.array([blank.p_ai]))).all()
    assert main(["models", "reference", *arguments]) == 1  # a bundle never changes


def test_a_second_reference_takes_the_place_of_the_first(tmp_path: Path, zipped: Path) -> None:
    (tmp_path / "none").write_bytes(tiny_bundle().pack())
    for seed, source, out in (("1", "none", "one"), ("2", "one", "two")):
        arguments = [str(tmp_path / source), "--pictures", str(zipped), "--out", str(tmp_path / out), "--window", "50"]
        assert main(["models", "reference", *arguments, "--seed", seed]) == 0
    one, two = Bundle.open(tmp_path / "one"), Bundle.open(tmp_path / "two")
    assert two.manifest.version.endswith("+r2")
    assert two.files[REFERENCE] != one.files[REFERENCE]
    assert two.files[MODEL] == one.files[MODEL]
    card = two.files[CARD].decode()
    assert card.count("## Reference") == 1
    assert "with seed\n2." in card


def test_too_few_pictures_and_no_pictures_are_refused(
    tmp_path: Path, zipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "bundle")]
    assert main(["models", "reference", "default", *out]) == 2
    assert "Give either pictures or a number of scenes" in capsys.readouterr().err
    assert main(["models", "reference", "default", "--pictures", str(zipped), *out]) == 1
    assert "168 embeddings are too few" in capsys.readouterr().err


def test_what_cannot_be_decoded_is_counted() -> None:
    picture = next(calm_traffic(1, seed=0, scenes=Sketches()))
    seen = see([picture, b"nothing", picture[:200]], FixedClassifier())
    assert len(seen.scores) == 1
    assert seen.unreadable.total() == 2
    with pytest.raises(ConfigurationError, match="no picture"):
        see([b"nothing"], FixedClassifier())


def test_calm_traffic_is_half_photographs_and_the_same_twice() -> None:
    scenes = Sketches()
    first = list(calm_traffic(60, seed=3, scenes=scenes))
    assert first == list(calm_traffic(60, seed=3, scenes=scenes))
    assert first != list(calm_traffic(60, seed=4, scenes=scenes))
    assert 15 < sum(label == "authentic" for label in scenes.drawn[:60]) < 45


class Sketches(ScenePictures):
    """The generator's scenes, each of the same small photograph."""

    def __init__(self) -> None:
        super().__init__(photographs=2, per_family=1)
        self.drawn: list[str] = []

    def prepare(self) -> None:
        self._pixels_of = photograph(1, 560)

    def subject(self, label, family, random):
        self.drawn.append(label)
        return super().subject(label, family, random)

    def _pixels(self, subject):
        return self._pixels_of
