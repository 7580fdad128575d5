import io
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx", reason="adaptation needs the adapt extra")
pytest.importorskip("scipy", reason="adaptation needs the adapt extra")

from compose.cli import main
from models.adaptation import examples, graph, replay, run, trial
from models.adaptation.units import Units
from models.bundle import Bundle
from models.classifier import Classifier
from models.evaluation.measures import pooled_auc
from models.evaluation.pictures import index
from stream.errors import BundleInvalid, ConfigurationError, VeristreamError
from tests.models.adaptation import bundles

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WITHOUT_TORCH = """
import sys
from pathlib import Path
from models.adaptation import examples, run
from models.evaluation.pictures import index
from tests.models.adaptation import bundles
parent = bundles.bundle()
run.adapt(parent, examples.from_pictures(index([Path(sys.argv[1])]), parent, threads=1))
sys.exit("torch" in sys.modules or "sklearn" in sys.modules)
"""


@pytest.fixture(scope="module")
def parent() -> Bundle:
    return bundles.bundle()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.folder(tmp_path_factory.mktemp("new"), {"real/real2": 40, "fake/fake2": 40})


@pytest.fixture(scope="module")
def lesson(parent: Bundle, pictures: Path) -> run.Lesson:
    shown = examples.from_pictures(index([pictures]), parent, threads=1)
    return run.adapt(parent, shown, taught=trial.written(index([pictures])), now=NOW)


def auc(bundle: Bundle, kinds: tuple[str, str], *, seed: int = 77, count: int = 120) -> float:
    """Of pictures nobody has seen, through the classifier as a worker runs it."""
    rng = np.random.default_rng(seed)
    tiles = np.concatenate([bundles.colours(rng, count, kind) for kind in kinds]).astype(np.uint8)
    prepared = [tile.repeat(8, 0).repeat(8, 1)[None] for tile in tiles]
    scores = [score.p_ai for score in Classifier.load(bundle, provider="cpu").predict(prepared)]
    return pooled_auc(scores, np.repeat([0, 1], count))


def stored(path: Path, bundle: Bundle, **changes: object) -> Path:
    """Stored embeddings of the new place's pictures, with something changed."""
    rng = np.random.default_rng(3)
    tiles = np.concatenate([bundles.colours(rng, 60, kind) for kind in ("real2", "fake2")]).astype(np.uint8)
    prepared = [tile.repeat(8, 0).repeat(8, 1)[None] for tile in tiles]
    scores = Classifier.load(bundle, provider="cpu").predict(prepared)
    content = {
        "vectors": np.stack([score.embedding for score in scores]),
        "scores": np.array([score.p_ai for score in scores]),
        "labels": np.repeat([0, 1], 60),
        "digest": np.array(bundle.digest),
    }
    np.savez(path, **{name: values for name, values in {**content, **changes}.items() if values is not None})
    return path


def test_a_new_source_is_learned_and_the_old_ones_are_kept(parent: Bundle, lesson: run.Lesson) -> None:
    assert auc(parent, ("real2", "fake2")) < 0.5
    assert auc(lesson.bundle, ("real2", "fake2")) > 0.8
    assert auc(lesson.bundle, ("real", "fake")) > auc(parent, ("real", "fake")) - 0.02


def test_what_is_said_of_a_lesson_was_measured_out_of_fold(lesson: run.Lesson) -> None:
    before, after = lesson.learned.auc_shown
    assert before < 0.6 < after <= auc(lesson.bundle, ("real2", "fake2")) + 0.1
    metrics = lesson.bundle.manifest.metrics["out-of-fold"]
    assert metrics["newly-labelled"]["auc"] == pytest.approx(after, abs=1e-4)
    assert metrics["replay"]["pictures"] == 450


def test_equal_input_gives_an_equal_bundle(parent: Bundle, pictures: Path, lesson: run.Lesson) -> None:
    shown = examples.from_pictures(index([pictures]), parent, threads=1)
    again = run.adapt(parent, shown, taught=trial.written(index([pictures])), now=NOW)
    assert again.bundle.digest == lesson.bundle.digest


def test_a_child_names_its_parent_and_what_it_learned(parent: Bundle, lesson: run.Lesson) -> None:
    manifest = lesson.bundle.manifest
    assert (manifest.parent, manifest.version) == (parent.digest, "1+a1")
    added = {(source.name, source.used_for, source.pictures) for source in manifest.training_data.sources}
    assert added == {("real/real2", "train", 40), ("fake/fake2", "train", 40)}
    card = lesson.bundle.files["MODEL_CARD.md"].decode()
    assert card.startswith("# Tiny")
    assert parent.digest in card
    assert "newly labelled" in lesson.bundle.calibration.thresholds.ai_above.on


def test_thresholds_hold_their_rates_on_unseen_pictures(lesson: run.Lesson) -> None:
    calibration = lesson.bundle.calibration
    assert calibration.thresholds.ai_above.rate <= bundles.CALIBRATED.thresholds.ai_above.rate
    assert calibration.thresholds.authentic_below.rate <= bundles.CALIBRATED.thresholds.authentic_below.rate


def test_embedding_and_network_stay_as_they_were(parent: Bundle, lesson: run.Lesson) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    outputs = [
        onnxruntime.InferenceSession(bundle.model, providers=["CPUExecutionProvider"]).run(
            ["embedding", "features"], {"crops": pixels}
        )
        for bundle in (parent, lesson.bundle)
    ]
    for old, new in zip(*outputs, strict=True):
        assert np.array_equal(old, new)


def test_lessons_follow_one_another(lesson: run.Lesson, tmp_path: Path) -> None:
    more = index([bundles.folder(tmp_path, {"real/real": 20, "fake/fake": 20}, seed=9)])
    second = run.adapt(lesson.bundle, examples.from_pictures(more, lesson.bundle, threads=1)).bundle
    assert second.manifest.version == "1+a2"
    assert auc(second, ("real2", "fake2")) > 0.75
    assert auc(second, ("real", "fake")) > 0.8
    assert "fake/fake2" in set(replay.read(second).sources)


def test_stored_embeddings_teach_too(parent: Bundle, tmp_path: Path) -> None:
    shown = examples.from_embeddings(stored(tmp_path / "e.npz", parent), parent, bundles.DIMENSIONS)
    taught = run.adapt(parent, shown).bundle
    assert auc(taught, ("real2", "fake2")) > auc(parent, ("real2", "fake2")) + 0.1
    assert auc(taught, ("real", "fake")) > auc(parent, ("real", "fake")) - 0.03
    assert b"stored embeddings" in taught.files["MODEL_CARD.md"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"digest": np.array("0" * 64)}, "another model"),
        ({"vectors": np.zeros((120, 5), np.float16)}, "shape"),
        ({"vectors": np.full((120, 6), np.nan)}, "not finite"),
        ({"scores": np.full(120, 1.5)}, "no probability"),
        ({"scores": np.zeros(7)}, "shape"),
        ({"labels": np.zeros(120, np.int64)}, "machine-made"),
        ({"labels": np.repeat([0, 2], 60)}, "0 and 1|0 or 1"),
        ({"labels": None}, "cannot be read"),
        ({"labels": np.array([{}] * 120)}, "cannot be read"),
    ],
)
def test_embeddings_that_cannot_be_used_are_refused(
    parent: Bundle, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    path = stored(tmp_path / "e.npz", parent, **changes)
    with pytest.raises(ConfigurationError, match=says):
        examples.from_embeddings(path, parent, bundles.DIMENSIONS)


def test_files_that_are_no_embeddings_are_refused(parent: Bundle, tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("broken.npz", "missing.npz"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            examples.from_embeddings(tmp_path / name, parent, bundles.DIMENSIONS)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"without": "features"}, "does not return 'features'"),
        ({"replay": b""}, "no replay.npz"),
        ({"replay": b"not an npz"}, "cannot be read"),
    ],
)
def test_bundles_that_cannot_learn_say_so(files: dict[str, object], says: str) -> None:
    with pytest.raises(BundleInvalid, match=says):
        run.check(bundles.bundle(**files))


def test_a_replay_that_fits_nothing_is_refused(parent: Bundle) -> None:
    with np.load(io.BytesIO(parent.files["replay.npz"])) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    for changes in (
        {"rows": content["rows"][:5]},
        {"logits": content["logits"] * np.nan},
        {"basis": content["basis"][:9]},
    ):
        data = io.BytesIO()
        np.savez(data, **{**content, **changes})
        with pytest.raises(BundleInvalid, match=r"do not fit|not finite|features"):
            run.check(bundles.bundle(replay=data.getvalue()))


def test_a_replay_keeps_every_source_within_its_limit() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6000, 500)).astype(np.float32)
    sources = np.repeat(["real/large", "fake/small"], [5900, 100])
    labels = (sources == "fake/small").astype(int)
    data = replay.build(features, features[:, 0].astype(float), labels, sources, parts=(500,), seed=1)
    assert len(data) <= replay.LIMIT
    with np.load(io.BytesIO(data)) as arrays:
        kept = arrays["names"][arrays["source"]]
    assert (kept == "fake/small").sum() == 100
    assert (kept == "real/large").sum() > 3000


def test_the_graph_computes_what_the_units_say(parent: Bundle) -> None:
    rng = np.random.default_rng(4)
    units = Units(rng.normal(0, 0.2, (3, bundles.WIDTH)), rng.normal(size=3))
    pixels = rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    model, expected = parent.model, 0.0
    for _ in range(2):
        model = graph.taught(model, units.slopes, units.constants, where="here")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        logit, features = session.run(["logit", "features"], {"crops": pixels})
        expected += units.change(features.astype(np.float64))
        assert logit == pytest.approx(features[:, :4].sum(1) + expected, abs=1e-3)


def test_a_model_learns_so_often_and_never_numbers_that_do_not_fit(parent: Bundle) -> None:
    slopes, constants = np.zeros((3, bundles.WIDTH)), np.zeros(3)
    with pytest.raises(BundleInvalid, match="does not fit"):
        graph.taught(parent.model, slopes + 1e300, constants, where="here")
    model = parent.model
    for _ in range(graph.MOST_UNITS // 2):
        model = graph.taught(model, slopes, constants, where="here")
    with pytest.raises(BundleInvalid, match="adapted 32 times already"):
        graph.taught(model, slopes, constants, where="here")


def test_the_draw_is_balanced_and_keeps_stems_together(tmp_path: Path) -> None:
    path = bundles.folder(tmp_path, {"real/real": 30, "real/real2": 10, "fake/fake2": 12})
    rows = [f"real/real/{number:03d}.png,{number // 2}" for number in range(30)]
    (path / "metadata.csv").write_text("\n".join(["file,stem", *rows]))
    taught, held = trial.drawn(index([path]), 20, seed=2)
    names = [{entry.path for entry in part[0].entries} for part in (taught, held)]
    assert not names[0] & names[1]
    assert len(names[0]) + len(names[1]) == 52
    count = {kind: sum(name.startswith(kind) for name in names[0]) for kind in ("fake/", "real/real/", "real/real2/")}
    assert count["fake/"] == 6
    assert 9 <= count["real/real/"] + count["real/real2/"] <= 10
    assert count["real/real2/"] >= 2
    chosen = {int(name[-7:-4]) for name in names[0] if name.startswith("real/real/")}
    assert chosen == {number ^ 1 for number in chosen}
    assert trial.drawn(index([path]), 20, seed=2) == (taught, held)


def test_too_few_pictures_are_refused(parent: Bundle, tmp_path: Path) -> None:
    few = index([bundles.folder(tmp_path, {"real/real": 9, "fake/fake": 1})])
    with pytest.raises(ConfigurationError, match="too few"):
        trial.drawn(few, 8, seed=0)
    with pytest.raises(ConfigurationError, match="fewer than two machine-made"):
        examples.from_pictures(few, parent, threads=1)


def test_the_command_writes_a_bundle_and_its_figures(parent: Bundle, pictures: Path, tmp_path: Path) -> None:
    parent.save(tmp_path / "parent")
    golden = bundles.folder(tmp_path / "golden", {"real/real": 12, "fake/fake": 12})
    figures = tmp_path / "figures.json"
    arguments = ["--data", str(pictures), "--labels", "40", "--golden", str(golden), "--json", str(figures)]
    assert main(["models", "adapt", str(tmp_path / "parent"), *arguments, "--out", str(tmp_path / "child")]) == 0
    found = json.loads(figures.read_text())
    assert found["bundle"] == Bundle.open(tmp_path / "child").digest
    assert found["labels"] == {"real": 20, "fake": 20}
    assert found["held_out"]["n"] == 40
    assert found["held_out"]["auc_after"] > found["held_out"]["auc_before"]
    assert found["golden"]["auc_after_ci95"][0] <= found["golden"]["auc_after"]
    assert found["seconds"] > 0


def test_a_bundle_without_a_place_goes_to_one_named_after_its_parent(
    parent: Bundle, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent.save(tmp_path / "parent")
    monkeypatch.chdir(tmp_path)
    assert main(["models", "adapt", "parent", "--data", str(pictures), "--labels", "40"]) == 0
    place = f"{parent.manifest.name}-{parent.manifest.version}-adapted"
    assert Bundle.open(place).manifest.parent == parent.digest
    assert f"in{place}" in "".join(capsys.readouterr().err.split())


def test_the_command_writes_nothing_on_bad_input(parent: Bundle, pictures: Path, tmp_path: Path) -> None:
    parent.save(tmp_path / "parent")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    stored(tmp_path / "e.npz", parent)
    reals = bundles.folder(tmp_path / "reals", {"real/real": 4})
    before = sorted(tmp_path.iterdir())
    for arguments in (
        [],
        ["--data", str(tmp_path / "broken.zip")],
        ["--data", str(reals)],
        ["--data", str(pictures), "--embeddings", str(tmp_path / "e.npz")],
        ["--embeddings", str(tmp_path / "e.npz"), "--labels", "10"],
        ["--data", str(pictures), "--json", str(tmp_path / "missing" / "f.json")],
    ):
        assert main(["models", "adapt", str(tmp_path / "parent"), *arguments, "--out", str(tmp_path / "child")]) == 2
    assert main(["models", "adapt", str(tmp_path / "parent"), "--data", str(pictures), "--out", str(reals)]) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_the_rotation_leaves_out_and_learns(parent: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent.save(tmp_path / "parent")
    counts = {
        "real/a/real": 30,
        "real/b/real": 30,
        "real/c/real2": 30,
        "real/d/real": 30,
        "fake/fake": 40,
        "fake/fake2": 40,
    }
    data = bundles.folder(tmp_path / "pool", counts)
    arguments = ["--data", str(data), "--bundle", str(tmp_path / "parent"), "--labels", "40", "--json", "-"]
    kept = ["--features", str(tmp_path / "features.npz")]
    assert main(["models", "adapt-bench", *arguments, *kept]) == 0
    first = json.loads(capsys.readouterr().out)
    assert set(first["generators"]) == {"fake/fake", "fake/fake2"}
    assert main(["models", "adapt-bench", *arguments, *kept]) == 0
    again = json.loads(capsys.readouterr().out)
    for figures in (first, again):
        for row in (*figures["generators"].values(), figures["mean"]):
            row.pop("seconds")
    assert again == first
    for row in first["generators"].values():
        assert 0 <= row["before"] <= 1
        assert row["after"] > 0.5


def test_features_of_another_bundle_are_refused(parent: Bundle, pictures: Path, tmp_path: Path) -> None:
    parent.save(tmp_path / "parent")
    np.savez(
        tmp_path / "f.npz", x=np.zeros((80, 3, 4)), labels=np.zeros(80), sources=np.zeros(80), digest=np.array("x")
    )
    arguments = ["--data", str(pictures), "--bundle", str(tmp_path / "parent"), "--features", str(tmp_path / "f.npz")]
    assert main(["models", "adapt-bench", *arguments]) == 2


def test_scores_that_rank_backwards_are_an_error_and_not_a_bundle(parent: Bundle) -> None:
    rows = np.zeros((40, 3, bundles.WIDTH))
    backwards = examples.Examples(
        rows, np.zeros((40, 3)), np.repeat([0, 1], 20), np.repeat(["real/x", "fake/y"], 20)
    )  # fmt: skip
    kept = replay.read(parent)
    turned = replay.Replay(kept.basis, kept.rows * 0, -kept.logits, kept.labels, kept.sources)
    with pytest.raises(VeristreamError, match="backwards"):
        run.adapt(bundles.bundle(replay=turned.to_bytes()), backwards)


def test_adaptation_needs_no_torch(pictures: Path) -> None:
    assert subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(pictures)], check=False).returncode == 0


def mislabelled(path: Path, weight: str) -> Path:
    """Forty pictures of each class, and as many authentic ones called machine-made, at a weight."""
    bundles.folder(path, {"real/real2": 40, "fake/fake2": 40})
    bundles.folder(path / "wrong", {"fake/real2": 40}, seed=9)
    rows = ["file,weight"]
    for file in sorted((path / "wrong/fake/real2").iterdir()):
        target = path / "fake/fake2" / f"wrong-{file.name}"
        file.rename(target)
        rows.append(f"{target.relative_to(path).as_posix()},{weight}")
    shutil.rmtree(path / "wrong")
    (path / "metadata.csv").write_text("\n".join(rows))
    return path


def test_a_label_of_little_weight_teaches_little(parent: Bundle, tmp_path: Path) -> None:
    found = {}
    for weight in ("1", "0.001"):
        shown = examples.from_pictures(index([mislabelled(tmp_path / weight, weight)]), parent, threads=1)
        found[weight] = auc(run.adapt(parent, shown, now=NOW).bundle, ("real2", "fake2"))
    assert found["0.001"] > 0.8
    assert found["0.001"] > found["1"] + 0.02


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "much"])
def test_a_weight_that_is_no_positive_number_is_refused(parent: Bundle, tmp_path: Path, weight: str) -> None:
    with pytest.raises(ConfigurationError, match="weight is"):
        examples.from_pictures(index([mislabelled(tmp_path / "data", weight)]), parent, threads=1)
