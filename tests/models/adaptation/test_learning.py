"""What a lesson takes for likely: a new source differs from the known ones as these differ from each other."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy", reason="adaptation needs the adapt extra")

from models.adaptation import units
from models.adaptation.learning import EMPHASES, FORGETTING, OF_ERRORS, Known, Learned, Shown, learn
from models.evaluation.measures import pooled_auc

WIDTH, PLANE = 40, 4
"""Pictures of one source differ in all directions, known sources from each other in the first few."""


def known(rng: np.random.Generator, *, sources: int = 30, each: int = 40) -> Known:
    """Pictures of many sources; the last direction tells the classes apart."""
    labels = np.arange(sources) % 2
    means = np.zeros((sources, WIDTH))
    means[:, :PLANE] = rng.normal(0, 1.5, (sources, PLANE))
    means[:, -1] = 2.0 * labels
    x = np.repeat(means, each, 0) + rng.normal(size=(sources * each, WIDTH))
    names = np.array([f"{'fake' if label else 'real'}/{number}" for number, label in enumerate(labels)])
    return Known(x, parent(x), np.repeat(labels, each), np.repeat(names, each))


def parent(x: np.ndarray) -> np.ndarray:
    """Logits of a model that knows the last direction."""
    return 2 * (x[..., -1] - 1)


def lesson(seed: int, *, named: bool = True, labels: int = 10) -> tuple[Learned, float]:
    """A generator and a camera that the parent cannot tell apart are learned; also the AUC of other pictures of both.

    Args:
        seed: Of everything.
        named: Whether the replay says what source a picture is of, and not its class only.
        labels: Of either class.
    """
    rng = np.random.default_rng(seed)
    old = known(rng)
    if not named:
        old = replace(old, sources=np.where(old.labels == 1, "fake/any", "real/any"))
    means = np.zeros((2, WIDTH))
    means[:, :PLANE] = rng.normal(0, 1.5, (2, PLANE))
    truth, held = np.repeat([1, 0], labels), np.repeat([1, 0], 500)
    x = means[truth] + rng.normal(size=(2 * labels, WIDTH))
    others = means[held] + rng.normal(size=(1000, WIDTH))
    learned = learn(old, Shown(x[:, None], parent(x)[:, None], truth), seed=0)
    return learned, pooled_auc(parent(others) + learned.units.change(others), held)


def test_knowing_how_sources_differ_helps_to_learn_one_from_few_labels() -> None:
    gains = [lesson(seed)[1] - lesson(seed, named=False)[1] for seed in range(6)]
    assert np.mean(gains) > 0.04


@pytest.mark.parametrize("labels", [4, 60])
def test_a_lesson_costs_the_old_pictures_no_more_than_they_may_lose_or_is_the_smallest(labels: int) -> None:
    learned, _ = lesson(4, labels=labels)
    before, after = learned.auc
    assert before - after <= FORGETTING + OF_ERRORS * (1 - before) or learned.emphasis == EMPHASES[0]


def test_two_pictures_of_each_class_are_measured_on_every_old_one() -> None:
    learned, _ = lesson(0, labels=2)
    assert (learned.known != known(np.random.default_rng(0)).logits).all()


def test_the_space_of_many_sources_has_room_where_they_differ() -> None:
    old = known(np.random.default_rng(1))
    basis = units.space(old.x, old.labels, old.sources).basis
    likely = np.diag(basis @ basis.T)
    assert likely[:PLANE].min() > 5 * likely[PLANE:].max()


def test_two_sources_are_too_few_to_tell_so_that_the_space_is_whitened_only() -> None:
    old = known(np.random.default_rng(2), sources=2, each=400)
    found = units.space(old.x, old.labels, old.sources)
    assert found.within == pytest.approx(np.eye(WIDTH))
    assert found.basis @ found.basis.T == pytest.approx(np.eye(WIDTH) / (1 + units.SHRINKAGE), abs=0.2)


def test_within_is_the_covariance_within_sources_of_the_space() -> None:
    old = known(np.random.default_rng(3))
    found = units.space(old.x, old.labels, old.sources)
    placed = old.x @ found.basis
    centred = placed - np.array([placed[old.sources == name].mean(0) for name in old.sources])
    # The sample has no share of the sphere that the covariance is shrunk towards.
    sample = centred.T @ centred / len(centred) * (1 + units.SHRINKAGE)
    assert np.trace(sample) == pytest.approx(np.trace(found.within), rel=0.05)
