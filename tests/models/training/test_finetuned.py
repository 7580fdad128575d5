import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

import onnxruntime as ort
import torch
from PIL import Image

from compose.cli import main
from models import recipes
from models.bundle import Bundle
from models.classifier import Classifier
from models.manifest import CARD
from models.networks.registry import architecture, build
from models.recipes import Finetune
from models.training import closing, pictures
from models.training.onnxexport import to_onnx
from models.training.progress import Listener
from models.training.scoring import Scoring
from models.training.train import train
from stream.errors import BundleInvalid, ConfigurationError, ModelError
from tests.models.training import tiny

COMMAND = "veristream models train --recipe tiny --data folder --out bundle"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("pictures") / "folder")


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = train(
        [data], tmp_path_factory.mktemp("out") / "bundle", tiny.recipe(), test=data, threads=1, command=COMMAND
    )
    assert made is not None
    return made


def test_a_bundle_comes_out_that_tells_a_plain_difference(bundle: Bundle) -> None:
    classifier = Classifier.load(bundle, provider="cpu")
    prepared = [
        np.asarray(Image.open(io.BytesIO(tiny.picture(77, machine_made=made))))[None, :16, :16]
        for made in (False, True)
    ]
    real, fake = classifier.predict(prepared)
    assert real.p_ai < fake.p_ai
    assert real.embedding.shape == (4,)
    assert bundle.manifest.metrics["clean"]["validation"]["auc"] > 0.9
    assert bundle.manifest.metrics["clean"]["test"]["pictures"] == 40


def test_manifest_and_card_say_what_served_what(bundle: Bundle) -> None:
    sources = bundle.manifest.training_data.sources
    assert {source.used_for for source in sources} == {"train", "validation", "test"}
    assert sum(source.pictures for source in sources if source.used_for != "test") == 40
    measured = bundle.manifest.metrics["clean"]["test"]
    assert {"auc", "balanced_accuracy", "fpr", "fnr", "abstained", "ece"} <= set(measured)  # as evaluation calls them
    card = bundle.files["MODEL_CARD.md"].decode()
    assert f"| {measured['fnr']:.4f} | {measured['abstained']:.4f} |" in card
    assert COMMAND in card
    assert "from random weights" in card


def test_the_shipped_graph_gives_the_score_that_calibration_saw(bundle: Bundle, data: Path) -> None:
    items = pictures.read([data])[0].items
    classifier = Classifier.load(bundle, provider="cpu")
    crops = [np.asarray(Image.open(io.BytesIO(item.data)))[None, 2:18, 2:18] for item in items]
    p = np.array([score.p_ai for score in classifier.predict(crops)])
    labels = np.array([item.label for item in items])
    above = bundle.calibration.thresholds.ai_above.value
    assert float((p[labels == 0] > above).mean()) == bundle.manifest.metrics["clean"]["test"]["fpr"]


def test_equal_runs_give_equal_models(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    again = train([data], tmp_path / "again", tiny.recipe(), threads=1)
    other = train([data], tmp_path / "other", tiny.recipe(seed=2), threads=1)
    assert again is not None
    assert other is not None
    assert again.model == bundle.model
    assert again.files["calibration.json"] == bundle.files["calibration.json"]
    assert other.model != bundle.model


def test_a_killed_run_goes_on_to_the_same_model(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.models.training.killed", str(data), str(tmp_path / "out")]
    assert subprocess.run(command, check=False, timeout=170).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    where = {"checkpoints": tmp_path / "checkpoints", "threads": 1}
    with pytest.raises(ConfigurationError, match="there is a checkpoint already"):
        train([data], tmp_path / "out", tiny.recipe(), **where)
    with pytest.raises(ConfigurationError, match="another recipe"):
        train([data], tmp_path / "out", tiny.recipe(seed=2), resume=True, **where)
    resumed = train([data], tmp_path / "out", tiny.recipe(), resume=True, **where)
    assert resumed is not None
    assert resumed.model == bundle.model
    assert not (tmp_path / "checkpoints").exists()


def test_two_processes_end_with_equal_weights_and_one_bundle(
    bundle: Bundle, data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "tests.models.training.dealt", str(data), str(tmp_path / "out"),
    ]  # fmt: skip
    # torchrun leaves its logs in the temporary folder.
    env = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("torchrun"))}
    done = subprocess.run(command, check=False, timeout=175, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.0.npz") as first, np.load(tmp_path / "out.1.npz") as second:
        names = [name for name in first.files if name.startswith(("net/", "average/", "optimiser/"))]
        assert len(names) > 20
        assert all(np.array_equal(first[name], second[name]) for name in names)
    made = Bundle.open(tmp_path / "out")
    assert made.manifest.training_data == bundle.manifest.training_data.model_copy(
        update={"sources": tuple(s for s in bundle.manifest.training_data.sources if s.used_for != "test")}
    )
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.0.npz", "out.1.npz"}


def test_a_restated_head_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    net = Scoring(build("residual-small", None, **tiny.recipe().options)).eval()
    crops = torch.randint(0, 256, (12, 16, 16, 3), dtype=torch.uint8)
    net.standardise(crops[:6])
    with torch.no_grad():
        features, expected = net.backbone(crops).numpy(), net.eval()(crops).numpy()
    assert closing.restated(net, features, 100.0).score(features) == pytest.approx(expected, abs=1e-5)
    session = ort.InferenceSession(to_onnx(net.backbone, 16, ["features"]), providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"crops": crops.numpy()})[0] - features).max() <= 1e-4


def test_standardising_shows_how_far_it_is() -> None:
    found: list[object] = []

    class Told(Listener):
        def begin(self, what: str, total: int, done: int = 0) -> None:
            found.append((what, total, done))

        def advance(self, step: int = 1, note: str = "") -> None:
            found.append(step)

    net = Scoring(build("residual-small", None, **tiny.recipe().options))
    net.standardise(torch.randint(0, 256, (70, 16, 16, 3), dtype=torch.uint8), Told())
    assert found == [("standardise", 70, 0), 32, 32, 6]  # a large network takes minutes for a share


def test_folders_and_zips_are_read_alike(data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "same.zip", "w") as zipped:
        for path in data.rglob("*.jpg"):
            zipped.write(path, path.relative_to(data))
    (folder,), (archive,) = pictures.read([data]), pictures.read([tmp_path / "same.zip"])
    assert folder.items == archive.items
    assert len(folder.sha256) == 64
    (data / "real" / "zzz.txt").write_text("not a picture")
    assert pictures.read([data])[0].sha256 == folder.sha256


@pytest.mark.parametrize(("right", "wrong"), [("1", "0.001"), ("0.001", "1")])
def test_a_label_of_little_weight_teaches_a_network_little(data: Path, tmp_path: Path, right: str, wrong: str) -> None:
    rows = ["file,weight"]
    for label in ("real", "fake"):
        (tmp_path / "labelled" / label).mkdir(parents=True)
        for number in range(30):
            flipped = number >= 20
            file = tmp_path / "labelled" / label / f"{number:03d}.jpg"
            file.write_bytes(
                tiny.picture(2000 + number + 1000 * (label == "fake"), machine_made=(label == "fake") != flipped)
            )
            rows.append(f"{label}/{file.name},{wrong if flipped else right}")
    (tmp_path / "labelled" / "metadata.csv").write_text("\n".join(rows))
    if float(right) > float(wrong):
        made = train([tmp_path / "labelled"], tmp_path / "out", tiny.recipe(), test=data, threads=1)
        assert made is not None
        assert made.manifest.metrics["clean"]["test"]["auc"] > 0.9
    else:
        with pytest.raises(ModelError, match="backwards"):
            train([tmp_path / "labelled"], tmp_path / "out", tiny.recipe(), threads=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "fp16"}, "fp16 trains on a GPU only"),
        ({"weights": "folder"}, "weights that are not shipped"),
        ({"architecture": "residual-smal"}, "no architecture"),
        ({"options": {"width": 3}}, "width"),
        ({"batch": 64}, "do not fill a batch"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(
    changes: dict[str, object], words: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        train([data], tmp_path / "out", tiny.recipe(**changes), device="cpu", threads=1)
    assert not list(tmp_path.iterdir())


def test_files_that_tell_the_classes_apart_are_refused(tmp_path: Path) -> None:
    for label, kind in (("real", "JPEG"), ("fake", "PNG")):
        (tmp_path / "leak" / label).mkdir(parents=True)
        for number in range(60):
            file = tmp_path / "leak" / label / f"{number}.{'jpg' if kind == 'JPEG' else 'png'}"
            file.write_bytes(tiny.picture(number + 500 * (label == "fake"), machine_made=number % 2 == 0, kind=kind))
    limits = {"smallest_side": 16}
    with pytest.raises(ConfigurationError, match="tell the classes apart"):
        train([tmp_path / "leak"], tmp_path / "out", tiny.recipe(checks=limits), threads=1)
    assert [path.name for path in tmp_path.iterdir()] == ["leak"]


def test_the_bundle_says_which_pictures_it_grew_from(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_bytes(bundle.files["data.json"])
    grown = train([data], tmp_path / "out", tiny.recipe(), parent=tmp_path / "data.json", threads=1)
    assert grown is not None
    first, second = (json.loads(made.files["data.json"]) for made in (bundle, grown))
    assert second["sha256"] == first["sha256"]
    assert second["parent"] == hashlib.sha256(bundle.files["data.json"]).hexdigest()
    assert grown.model == bundle.model


def test_scores_that_are_no_numbers_leave_no_bundle(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(closing, "restated", lambda net, seen, clip: pytest.fail("never reached"))
    with pytest.raises(ModelError, match="no longer a number"):
        train([data], tmp_path / "out", tiny.recipe(rate=1e30, warm_up=0, gradient_clip=1e30), threads=1)
    assert not (tmp_path / "out").exists()


def test_the_command_takes_its_place_from_the_recipe(data: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "own.yaml").write_text(tiny.recipe().model_dump_json())
    monkeypatch.chdir(tmp_path)
    assert main(["models", "train", "--recipe", "own.yaml", "--data", str(data), "--threads", "1"]) == 0
    recipe = tiny.recipe()
    made = Bundle.open(f"{recipe.name}-{recipe.version}")
    assert f"--recipe own.yaml --data {data.name} --out {recipe.name}-{recipe.version}`" in made.files[CARD].decode()


def test_weights_that_are_not_there_are_refused_before_the_work(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no weights to start from"):
        train([data], tmp_path / "out", tiny.recipe(), weights=tmp_path / "missing", threads=1)


def test_what_one_kind_has_no_use_for_is_refused(data: Path, tmp_path: Path) -> None:
    frozen = recipes.Frozen(name="tiny", version="1")
    with pytest.raises(ConfigurationError, match="no use for --resume"):
        train([data], tmp_path / "out", frozen, resume=True)
    (tmp_path / "taken").mkdir()
    for plan in (frozen, tiny.recipe()):
        with pytest.raises(BundleInvalid, match="in the bundle's place"):
            train([data], tmp_path / "taken", plan)


@pytest.mark.parametrize("name", [name for name in recipes.names() if isinstance(recipes.load(name), Finetune)])
def test_shipped_recipes_name_networks_that_can_be_built(name: str) -> None:
    recipe = recipes.load(name)
    assert isinstance(recipe, Finetune)
    known = architecture(recipe.architecture)
    known.options.model_validate(recipe.options)
    assert recipe.weights in ("none", "folder", *known.published)


def test_recipes_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    start = "kind: finetune\nname: x\nversion: '1'\narchitecture: vgg16\ncrop: 64\n"
    for text, words in (
        (start, "either epochs or steps"),
        (start + "epochs: 1\nsteps: 2\n", "either epochs or steps"),
        (start + "epochs: 1\nlearning_rate: 1\n", "learning_rate"),
        (start + "epochs: 1\nbatch: 9\naccumulation: 2\n", "equal parts"),
        (start + "epochs: 1\naugmentation: {kind: colours}\n", "augmentation"),
        (start + "epochs: 1\ntiers: [web]\n", "clean"),
        ("kind: other\n", "kind"),
        ("- a list\n", "cannot be used: file: it has no fields"),
        ("", "its kind is missing"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=words) as raised:
            recipes.load(str(path))
        assert "default.yaml" in raised.value.remedy
    path.write_text(start + "epochs: 1\naccumulations: 2\n")
    with pytest.raises(ConfigurationError, match="accumulations: there is no such field") as raised:
        recipes.load(str(path))
    assert raised.value.remedy == "Did you mean accumulation?"
