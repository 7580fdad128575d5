import numpy as np
import pytest

from models.dataset.probe import probe


def ask(columns, labels, *, per_group=1, limit=0.55):
    count = len(labels)
    sources = np.array([f"{label}/{place % 3}" for place, label in enumerate(labels)])
    groups = np.array([f"{label}/{place // per_group}" for place, label in enumerate(labels)])
    return probe(columns, np.asarray(labels), sources, groups, limit=limit, seed=1) if count else None


def halves(count):
    return np.arange(count) * 2 // count


def test_what_tells_is_named_and_what_does_not_is_not():
    labels = halves(200)
    rng = np.random.default_rng(1)
    found = ask({"width": rng.integers(100, 110, 200).astype(float), "quality": 70.0 + 20 * labels}, labels)
    assert (found.outcome, found.told_by) == ("leak", "quality")
    assert found.balanced_accuracy == 1
    assert found.alone["width"] < 0.65


def test_a_trait_that_only_one_class_has_is_a_leak():
    labels = halves(100)
    assert ask({"quality": np.where(labels == 1, np.nan, 90.0)}, labels).outcome == "leak"


def test_traits_that_tell_only_together_are_a_leak():
    rng = np.random.default_rng(2)
    width, height = rng.integers(0, 2, (2, 600)).astype(float)
    found = ask({"width": width, "height": height}, (width != height).astype(int))
    assert found.outcome == "leak"
    assert max(found.alone.values()) < 0.6


@pytest.mark.parametrize("count", [30, 100])
def test_chance_is_seldom_refused_however_few_pictures_there_are(count):
    refused = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        columns = {"width": rng.normal(size=count)}
        refused += ask(columns, halves(count)).outcome == "leak"
    assert refused <= 1


def test_the_limit_counts_independent_groups_and_not_pictures():
    rng = np.random.default_rng(3)
    labels = halves(400)
    told = np.where(rng.random(400) < 0.3, labels, rng.integers(0, 2, 400)).astype(float)
    single = ask({"width": told}, labels)
    grouped = ask({"width": np.repeat(told[::10], 10)}, labels, per_group=10)
    assert single.balanced_accuracy - single.lower < grouped.balanced_accuracy - grouped.lower


def test_the_same_everywhere_tells_nothing_and_two_pictures_tell_nobody():
    assert ask({"width": np.full(40, 224.0)}, halves(40)).balanced_accuracy == 0.5
    assert ask({"width": np.arange(2.0)}, halves(2)).outcome == "untold"
