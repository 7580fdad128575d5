import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.measures import (
    Scored,
    balance,
    balanced_auc,
    measure,
    pooled_auc,
    real_vs_real,
    resampled,
    shares,
)
from tests.models.tiny import CALIBRATED

THRESHOLDS = CALIBRATED.thresholds  # authentic below .3, machine-made above .7

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
PICTURES = st.lists(st.tuples(SCORES, st.sampled_from(["a", "b", "c"])), min_size=1, max_size=12)


def both(reals, fakes):
    p = np.array([value for value, _ in [*reals, *fakes]])
    labels = np.repeat([0, 1], [len(reals), len(fakes)])
    sources = np.array([*(f"real/{name}" for _, name in reals), *(f"fake/{name}" for _, name in fakes)])
    return p, labels, sources


def won(fake, real):
    return 1.0 if fake > real else 0.5 if fake == real else 0.0


@given(PICTURES, PICTURES)
def test_the_pooled_auc_is_the_share_of_pairs_in_order_and_ties_count_half(reals, fakes):
    p, labels, _ = both(reals, fakes)
    expected = np.mean([won(fake, real) for fake, _ in fakes for real, _ in reals])
    assert pooled_auc(p, labels) == pytest.approx(expected)


@given(PICTURES, PICTURES)
def test_the_balanced_auc_is_the_mean_over_pairs_of_sources(reals, fakes):
    cells = [
        np.mean([won(f, r) for f, of_fake in fakes if of_fake == one for r, of_real in reals if of_real == other])
        for one in {name for _, name in fakes}
        for other in {name for _, name in reals}
    ]
    assert balanced_auc(*both(reals, fakes)) == pytest.approx(np.mean(cells))


@given(PICTURES, PICTURES)
def test_only_the_order_of_scores_counts_and_turning_it_round_mirrors_the_auc(reals, fakes):
    p, labels, sources = both(reals, fakes)
    area = balanced_auc(p, labels, sources)
    assert balanced_auc(10 * p**3 - 4, labels, sources) == pytest.approx(area)
    assert balanced_auc(-p, labels, sources) == pytest.approx(1 - area)


@given(PICTURES, PICTURES)
def test_weights_make_sources_equal_and_keep_the_size_of_a_class(reals, fakes):
    _, labels, sources = both(reals, fakes)
    weights = balance(labels, sources)
    for label in (0, 1):
        member = labels == label
        sums = [weights[sources == name].sum() for name in np.unique(sources[member])]
        assert sums == pytest.approx([member.sum() / len(sums)] * len(sums))


def test_one_class_has_no_auc():
    assert np.isnan(pooled_auc([0.1, 0.2], np.array([1, 1])))


def test_figures_follow_from_the_verdicts():
    #             authentic: right, unsure, wrong, wrong | machine-made: right, unsure, wrong
    p = np.array([0.1, 0.6, 0.9, 0.8, 0.9, 0.4, 0.2])
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    found = measure(Scored(p, labels, np.array(["r"] * 4 + ["f"] * 3)), THRESHOLDS, seed=0)
    assert (found["n"], found["n_real"], found["n_fake"]) == (7, 4, 3)
    assert found["fpr"] == 0.5
    assert found["fnr"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["abstained"] == pytest.approx(2 / 7, abs=1e-4)
    assert found["accuracy"] == 0.4
    assert found["accuracy_forced"] == pytest.approx(2 / 7, abs=1e-4)
    assert found["balanced_accuracy"] == pytest.approx((1 / 4 + 1 / 3) / 2, abs=1e-4)
    assert found["called_ai"] == pytest.approx(3 / 7, abs=1e-4)
    for name in ("auc", "auc_pooled", "fpr", "ece"):
        low, high = found[f"{name}_ci95"]
        assert 0 <= low <= high <= 1


def test_a_large_easy_source_does_not_carry_a_figure():
    p = np.array([0.1] * 90 + [0.9] * 10 + [0.8] * 5)
    labels = np.array([0] * 100 + [1] * 5)
    sources = np.array(["real/easy"] * 90 + ["real/hard"] * 10 + ["fake/one"] * 5)
    found = measure(Scored(p, labels, sources), THRESHOLDS, seed=0)
    assert found["fpr"] == 0.5
    assert found["auc"] == 0.5
    assert found["auc_pooled"] == 0.9


def test_a_slice_of_one_class_is_set_against_all_of_the_other():
    p = np.array([0.1, 0.5, 0.4, 0.9])
    labels = np.array([0, 0, 1, 1])
    sources = np.array(["real/a", "real/b", "fake/a", "fake/b"])
    found = measure(Scored(p, labels, sources), THRESHOLDS, seed=0, chosen=sources == "fake/a")
    assert (found["auc"], found["n"], found["fnr"]) == (0.5, 1, 0.0)
    assert found["fpr"] is found["fpr_ci95"] is found["balanced_accuracy"] is None
    assert found["accuracy"] is None  # the one picture is uncertain


def test_equal_seeds_give_equal_intervals_and_the_interval_holds_the_figure():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 150)
    scored = Scored(
        np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), labels, np.array([f"s{i % 3}" for i in range(300)])
    )
    first, again, other = (measure(scored, THRESHOLDS, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert first["auc_ci95"][0] < first["auc"] < first["auc_ci95"][1]


def test_resampling_keeps_every_source_at_its_size():
    sources = np.array(["b", "a", "b", "c", "b", "a"])
    counts = np.concatenate(list(resampled(sources, seed=1, rounds=50)))
    assert counts.shape == (50, 6)
    for name, size in (("a", 2), ("b", 3), ("c", 1)):
        assert (counts[:, sources == name].sum(1) == size).all()
    assert len(np.unique(counts, axis=0)) > 1


def test_shares_are_source_balanced():
    mask = np.array([True, False, False, False, True])
    value, ends = shares(mask, np.zeros(5, np.int64), np.array(["a", "b", "b", "b", "a"]), seed=0)
    assert value == 0.5
    assert ends == [0.5, 0.5]


def test_the_control_finds_sources_apart_and_not_alike():
    rng = np.random.default_rng(0)
    labels, sources = np.array([0] * 200 + [1] * 5), np.array(["a"] * 100 + ["b"] * 100 + ["fake"] * 5)
    alike = real_vs_real(Scored(rng.random(205), labels, sources), seed=0)
    apart = real_vs_real(Scored(np.r_[np.zeros(100), np.ones(105)], labels, sources), seed=0)
    assert 0.5 <= alike["real_vs_real"] < 0.6
    assert 0.5 <= alike["chance"] < 0.6
    assert apart["real_vs_real"] == 1.0
    assert apart["widest"] == {"sources": ["a", "b"], "auc": 1.0}
    assert apart["pairs"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_intervals_of_distances_hold_their_figure(seed):
    rng = np.random.default_rng(seed)
    p = rng.random(300)
    labels, sources = (rng.random(300) < p).astype(np.int64), rng.choice(list("abcdef"), 300)
    scored = Scored(p, labels, sources)
    figures = {**measure(scored, THRESHOLDS, seed=seed), **real_vs_real(scored, seed=seed)}
    for name, least in (("ece", 0.0), ("real_vs_real", 0.5)):
        low, high = figures[f"{name}_ci95"]
        assert least <= low < figures[name] < high


def test_the_control_needs_two_sources():
    found = real_vs_real(Scored(np.array([0.1, 0.2]), np.array([0, 1]), np.array(["a", "b"])), seed=0)
    assert found["real_vs_real"] is None
    assert found["pairs"] == 0
