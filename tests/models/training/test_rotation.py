"""What is left out stays unseen, and what is said of it holds."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the train extra")

from hypothesis import given, settings
from hypothesis import strategies as st

from models.dataset.weights import source_weights
from models.training import folds, head, rotation, thresholds
from models.training.statistics import NAMES, Boosted, statistics

RNG = np.random.default_rng(5)
SOURCES = np.repeat(["real/a", "real/b", "real/c", "fake/d", "fake/e", "fake/f"], 30)
LABELS = np.array([int(source.startswith("fake")) for source in SOURCES])
NO_SCENES = np.zeros(len(SOURCES), bool)


def drawn(width: int = 12) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Three variants of every picture: a first feature that tells the classes, and noise."""
    features = RNG.normal(size=(len(LABELS), 3, width)).astype(np.float32)
    features[..., 0] += 3 * LABELS[:, None]
    return features


def fitter(features: np.ndarray[tuple[int, int, int], np.dtype[np.float32]]) -> head.Fitter:
    weights = source_weights(LABELS, SOURCES)
    return head.Fitter(features, LABELS, weights, shrinkage=0.1, clip=6.0)


def turns() -> list[folds.Fold]:
    return folds.rotation(LABELS, SOURCES, SOURCES, NO_SCENES, seed=0)


def test_labels_that_are_left_out_change_nothing() -> None:
    features = drawn()
    out = SOURCES == "fake/d"
    weights = source_weights(LABELS, SOURCES)
    turned = np.where(out, 0, LABELS)
    one = fitter(features)(out)
    other = head.Fitter(features, turned, weights, shrinkage=0.1, clip=6.0)(out)
    assert np.allclose(one.weight, other.weight, atol=1e-4)


def test_what_is_left_out_is_as_if_it_had_not_been_there() -> None:
    features = drawn()
    out = np.isin(SOURCES, ["fake/d", "real/a"])
    found = fitter(features)(out)
    x = found.standardise(features[~out]).reshape(-1, 12).astype(np.float64)
    y = np.repeat(LABELS[~out], 3)
    within = sum(np.cov(x[y == label], rowvar=False, bias=True) for label in (0, 1)) / 2
    between = x[y == 1].mean(0) - x[y == 0].mean(0)
    matrix = within + np.outer(between, between) / 4
    direction = np.linalg.solve(matrix + 0.1 * np.trace(matrix) / 12 * np.eye(12), between)
    assert found.weight @ direction / np.linalg.norm(found.weight) / np.linalg.norm(direction) > 0.9999


def test_a_plain_difference_is_found_and_sites_are_not() -> None:
    scores = folds.out_of_fold(turns(), {"clean": (features := drawn())}, fitter(features))["clean"]
    found = rotation.figures(turns(), scores, LABELS, SOURCES, seed=0)
    assert found["auc_low"] <= found["auc"] <= found["auc_high"]
    assert found["auc"] > 0.95
    assert found["real_vs_real"] < 0.65
    assert found["generators"] == 3


def test_noise_is_worth_nothing() -> None:
    features = RNG.normal(size=(len(LABELS), 3, 12)).astype(np.float32)
    scores = folds.out_of_fold(turns(), {"clean": features}, fitter(features))["clean"]
    found = rotation.figures(turns(), scores, LABELS, SOURCES, seed=0)
    assert abs(found["auc"] - 0.5) < 0.2


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-3, 3))
def test_no_left_out_source_is_beyond_its_bound(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    offsets = {"real/b": shift, "real/c": -shift}
    logits = {
        tier: rng.normal(size=len(LABELS))
        + 2 * LABELS
        + np.array([offsets.get(str(source), 0.0) for source in SOURCES])
        for tier in thresholds.BOUNDS
    }
    calibrated = thresholds.calibrate(
        logits, LABELS, SOURCES, NO_SCENES, false_positive_rate=0.05, false_negative_rate=0.1
    )
    for tier, bound in thresholds.BOUNDS.items():
        p = np.array([calibrated.probability(float(logit)) for logit in logits[tier]])
        for source in ("real/a", "real/b", "real/c"):
            verdicts = [calibrated.verdict(float(value)) for value in p[np.isin(SOURCES, [source])]]
            assert verdicts.count("ai_generated") <= bound * len(verdicts)


def test_statistics_say_what_they_are_called() -> None:
    crops = np.zeros((3, 32, 32, 3), np.uint8)
    crops[1] = 255
    crops[2] = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = statistics(crops)
    assert len(NAMES) == 11
    assert found.shape == (3, 11)
    assert np.isfinite(found).all()
    brightness, laplacian = NAMES.index("brightness"), NAMES.index("Laplacian")
    assert found[1, brightness] == pytest.approx(255, abs=1e-2)
    assert found[2, laplacian] > found[1, laplacian]


def test_trees_tell_bright_from_dark() -> None:
    found = RNG.normal(size=(len(LABELS), 2, 11)).astype(np.float32)
    found[..., 0] += 4 * LABELS[:, None]
    scores = Boosted(found, LABELS, np.ones(len(LABELS))).score(found)
    assert scores.shape == (len(LABELS), 2)
    assert scores[LABELS == 1].mean() > scores[LABELS == 0].mean()


def test_a_steady_head_leans_less_on_what_deliveries_change() -> None:
    labels = LABELS[:, None]
    steady = labels + 0.7 * RNG.normal(size=(len(LABELS), 1)) + np.zeros((1, 3))
    shaken = labels + 0.7 * RNG.normal(size=(len(LABELS), 3))
    features = np.stack([steady, shaken], 2).astype(np.float32)
    weights = source_weights(LABELS, SOURCES)

    def leaning(steadiness: float) -> float:
        fit = head.Fitter(features, LABELS, weights, shrinkage=0.1, clip=6.0, steadiness=steadiness)
        return float(fit().weight[1] / fit().weight[0])

    assert leaning(1.0) > 2 * leaning(3.0) > 0


def test_a_narrow_kind_of_features_is_seen_in_the_first_directions() -> None:
    wide, narrow = RNG.normal(size=(400, 1)), RNG.normal(size=(400, 1))
    noise = 0.1 * RNG.normal(size=(400, 42))
    features = (np.concatenate([np.tile(wide, 40), np.tile(narrow, 2)], 1) + noise).astype(np.float32)
    together = head.principal_directions(features, 2, [(42, 1.0)])
    apart = head.principal_directions(features, 2, [(40, 1.0), (2, 1.0)])
    assert together.shape == apart.shape == (42, 2)
    seen = np.abs(np.corrcoef(np.c_[features @ apart, wide, narrow], rowvar=False)[:2, 2:])
    assert (seen.max(0) > 0.9).all()
    even, uneven = (np.var(features @ directions, axis=0) for directions in (apart, together))
    assert even.min() > 0.5 * even.max()
    assert uneven.min() < 0.1 * uneven.max()
    quiet = head.principal_directions(features, 1, [(40, 1e-4), (2, 1.0)])
    assert np.abs(np.corrcoef((features @ quiet)[:, 0], narrow[:, 0])[0, 1]) > 0.9
