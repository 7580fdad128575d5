"""The gate against real lessons: small bundles that learned a new source rightly, or from labels turned round."""

from pathlib import Path

import numpy as np
import pytest

from models.adaptation import examples, run
from models.bundle import Bundle
from models.classifier import Classifier
from models.evaluation.measures import Scored
from models.evaluation.pictures import index
from models.evaluation.scoring import score
from retrain.gate import GateReport, evaluate
from retrain.gate.comparison import compare, lost
from retrain.gate.limits import contradiction, costs, judged
from retrain.gate.scoring import Paired, paired
from stream.settings import GateSettings
from tests.models.adaptation import bundles

LIMITS = GateSettings(latency=20.0, fewest=20, tiers=("clean",))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden pictures, a drifted slice, labelled pictures, and the same with their labels turned round."""
    path = tmp_path_factory.mktemp("gate")
    everything = ("real/real", "real/real2", "fake/fake", "fake/fake2")
    bundles.folder(path / "golden", {"real/real": 200, "fake/fake": 200}, seed=11)
    for name, each, seed in (("slice", 40, 12), ("labelled", 60, 13)):
        bundles.folder(path / name, dict.fromkeys(everything, each), seed=seed)
        turned = bundles.folder(path / f"poisoned-{name}", dict.fromkeys(everything, each), seed=seed)
        (turned / "real").rename(turned / "was-real")
        (turned / "fake").rename(turned / "real")
        (turned / "was-real").rename(turned / "fake")
    bundles.folder(path / "known", {"real/real": 100, "fake/fake": 100}, seed=14)
    return path


def taught(parent: Bundle, path: Path) -> Bundle:
    return run.adapt(parent, examples.from_pictures(index([path]), parent, threads=1)).bundle


@pytest.fixture(scope="module")
def parent(place: Path) -> Bundle:
    """A champion whose thresholds were set on what it knows."""
    return taught(bundles.bundle(), place / "known")


def ask(place: Path, parent: Bundle, challenger: Bundle, limits: GateSettings = LIMITS, **sets: str) -> GateReport:
    chosen = {"golden": "golden", "drifted": "slice", **sets}
    collections = {name: index([place / folder]) if folder else [] for name, folder in chosen.items()}
    return evaluate(parent, challenger, limits=limits, **collections)


@pytest.fixture(scope="module")
def good(place: Path, parent: Bundle) -> Bundle:
    return taught(parent, place / "labelled")


def test_a_challenger_that_learned_passes_and_its_gain_is_measured(place, parent, good):
    report = ask(place, parent, good)
    assert report.reasons == ()
    assert report.passed
    assert report.figures["slice_balanced_accuracy_change_low"] > 0
    assert report.figures["golden_auc_change"] > -0.02
    assert report.figures["golden_authentic"] == 200
    assert report.figures["size_ratio"] > 1
    assert report.figures["seconds"] > 0


def test_superiority_can_be_asked_for(place, parent, good):
    limits = LIMITS.model_copy(update={"gain": "superior"})
    assert ask(place, parent, good, limits).passed
    same = ask(place, parent, parent, limits)
    assert not same.passed
    assert "not proven to be better" in same.reasons[0]


def test_the_champion_itself_is_not_inferior(place, parent):
    report = ask(place, parent, parent)
    assert report.passed
    assert report.figures["golden_disagreement"] == 0
    assert report.figures["golden_fpr_change"] == 0


def test_a_challenger_of_flipped_labels_is_refused_and_told_why(place, parent):
    poisoned = taught(parent, place / "poisoned-labelled")
    # Its slice was held out of the same labels, so it is turned round as well and the challenger shines there.
    report = ask(place, parent, poisoned, drifted="poisoned-slice")
    assert not report.passed
    assert report.figures["slice_balanced_accuracy_change"] > 0
    assert "new labels contradict the champion" in report.reasons[0]
    # The golden set alone says no as well.
    alone = ask(place, parent, poisoned, drifted="")
    assert any("calibration error on the golden set rises" in reason for reason in alone.reasons)


def test_every_labelled_picture_is_asked_about_once(place, parent, good):
    drifted, lesson, seen = index([place / "slice"]), index([place / "labelled"]), []
    report = evaluate(
        parent, good, golden=[], drifted=drifted, lesson=lesson, limits=LIMITS, advance=seen.append,
    )  # fmt: skip
    assert sum(seen) == 160 + 240
    whole = score([*drifted, *lesson], Classifier.load(parent, provider="cpu"), ["clean"], tests=False)
    _, figures = contradiction(whole.scored("clean"))
    assert figures["labels"] == 160 + 240
    assert figures.items() <= report.figures.items()


def test_a_slice_of_which_one_class_cannot_be_decoded_is_refused_in_words(place, parent, good, tmp_path):
    for label in ("real", "fake"):
        (tmp_path / label / label).mkdir(parents=True)
        for number, path in enumerate(sorted((place / "slice" / label / label).iterdir())[:12]):
            data = path.read_bytes() if label == "real" else b"\x89PNG\r\n\x1a\n and no more"
            (tmp_path / label / label / f"{number}.png").write_bytes(data)
    report = evaluate(parent, good, golden=[], drifted=index([tmp_path]), limits=LIMITS)
    assert "the drifted slice has 12 authentic and 0 machine-made pictures" in report.reasons[1]


def test_without_a_golden_set_it_refuses_unless_told_otherwise(place, parent, good):
    refused = ask(place, parent, good, golden="")
    assert not refused.passed
    assert "no golden set is configured" in refused.reasons[0]
    allowed = ask(place, parent, good, LIMITS.model_copy(update={"slice_only": True}), golden="")
    assert allowed.passed
    nothing = ask(place, parent, good, LIMITS.model_copy(update={"slice_only": True}), golden="", drifted="")
    assert not nothing.passed
    assert "no pictures to judge" in nothing.reasons[0]


def test_too_few_pictures_are_no_proof(place, parent, good):
    report = ask(place, parent, good, LIMITS.model_copy(update={"fewest_drifted": 100}))
    assert report.reasons == (
        "the drifted slice has 80 authentic and 80 machine-made pictures; 100 of each are needed to judge by",
    )


def test_unreadable_pictures_are_counted_and_tiers_are_slices(place, parent, good, tmp_path):
    for label in ("real", "fake"):
        (tmp_path / label / label).mkdir(parents=True)
        for path in sorted((place / "golden" / label / label).iterdir())[:30]:
            (tmp_path / label / label / path.name).write_bytes(path.read_bytes())
    (tmp_path / "real" / "real" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    scores = paired(parent, good, index([tmp_path]), ("clean", "web"))
    assert scores.unreadable == 1
    assert len(scores.labels) == 120
    assert {part["tier"] for part in scores.slices} == {"clean", "web"}
    assert scores.latency > 0
    _, figures = judged(scores, "golden", LIMITS)
    assert figures["golden_unreadable"] == 1


def made(champion: np.ndarray, challenger: np.ndarray, labels: np.ndarray, sources: np.ndarray | None = None) -> Paired:
    names = sources if sources is not None else np.where(labels == 1, "fake/a", "real/a")
    scored = [Scored(p.astype(float), labels, names) for p in (champion, challenger)]
    called = np.stack([champion > 0.7, challenger > 0.7])
    parts = tuple({"source": name.partition("/")[2], "tier": "clean"} for name in names)
    return Paired(scored[0], scored[1], called, parts, (1.0,))


def test_more_false_positives_are_refused_before_all_else():
    labels = np.repeat([0, 1], 300)
    before = np.concatenate([np.full(300, 0.1), np.full(300, 0.9)])
    after = before.copy()
    after[:30] = 0.8
    reasons, figures = judged(made(before, after, labels), "golden", GateSettings())
    assert reasons[0].startswith("false positives on the golden set may be worse by 0.1")
    assert figures["golden_fpr_challenger"] == 0.1


def test_one_ruined_source_is_named_though_the_whole_looks_well():
    labels = np.repeat([0, 1], 500)
    sources = np.array(["real/a"] * 460 + ["real/b"] * 40 + ["fake/a"] * 500)
    before = np.concatenate([np.full(500, 0.1), np.full(500, 0.9)])
    after = before.copy()
    after[480:500] = 0.8
    wide = GateSettings(fpr=0.5, balanced_accuracy=0.5, auc=0.5, ece=1.0, fewest=20)
    reasons, _ = judged(made(before, after, labels, sources), "golden", wide)
    assert any("the source b loses 0.500" in reason for reason in reasons)
    assert any("spread over 0.500 instead of 0.000" in reason for reason in reasons)


def test_lost_calibration_is_refused():
    labels = np.repeat([0, 1], 300)
    before = np.concatenate([np.full(300, 0.05), np.full(300, 0.95)])
    after = np.concatenate([np.full(300, 0.45), np.full(300, 0.71)])
    reasons, _ = judged(made(before, after, labels), "golden", GateSettings())
    assert len(reasons) == 1
    assert reasons[0].startswith("calibration error on the golden set rises from 0.050")


def test_time_and_size_have_limits():
    labels = np.repeat([0, 1], 30)
    flat = np.full(60, 0.5)
    slow = Paired(*[Scored(flat, labels, np.full(60, "real/a"))] * 2, np.zeros((2, 60), bool), (), (1.8, 1.9, 9.0))
    reasons, figures = costs(slow, (100, 300), GateSettings())
    assert figures["latency_ratio"] == 1.9
    assert [reason.split()[0] for reason in reasons] == ["inference", "the"]
    assert costs(slow, (100, 150), GateSettings(latency=2.0)) == (
        [],
        figures | {"size_ratio": 1.5, "challenger_bytes": 150.0},
    )


def test_no_difference_on_few_pictures_is_not_taken_for_certainty():
    labels = np.repeat([0, 1], 25)
    p = np.concatenate([np.full(25, 0.1), np.full(25, 0.9)])
    change = compare(made(p, p, labels), confidence=0.95, seed=0)["fpr"]
    assert change.change == 0
    assert change.high == pytest.approx(0.12, abs=0.01)


def test_bounds_hold_at_the_stated_confidence():
    """Two models of equal worth: the upper bound lies below the truth in about one of twenty draws."""
    rng = np.random.default_rng(5)
    below = 0
    for number in range(200):
        labels = np.repeat([0, 1], 200)
        p = [np.where(rng.random(400) < 0.1, 1 - labels, labels) * 0.8 + 0.1 for _ in range(2)]
        chosen = np.ones(400, bool)
        below += lost(made(p[0], p[1], labels), chosen, confidence=0.95, seed=number).high < 0
    assert below <= 20
