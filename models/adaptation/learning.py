"""How much to learn: the most that the new labels ask for and the old knowledge can bear, both measured out of fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.adaptation.units import Floats, Labels, Names, Points, Units, fit, space
from models.evaluation.measures import balanced_auc

FOLDS = 3
EMPHASES = (0.5, 1.5, 4.0, 8.0, 16.0, 40.0)
FORGETTING, OF_ERRORS = 0.004, 0.025
"""AUC that the old pictures may lose: so much, and that share of what they lack of 1.

A model that ranks nearly all of them right is hurt more by the same loss.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Replayed pictures in the space of learning: ``x [n, d]``, ``logits`` of the parent, ``labels``, ``sources``."""

    x: Floats
    logits: Floats
    labels: Labels
    sources: Names


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Labelled pictures in that space: ``views [n, v, d]`` and ``logits [n, v]`` of v views of each; ``labels``.

    ``weights [n]`` say what each label is worth against the others of its class; all the same where None.
    """

    views: Floats
    logits: Floats
    labels: Labels
    weights: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """``units`` in the coordinates of the space, and what they do out of fold.

    Attributes:
        units: Fitted on everything.
        emphasis: What a labelled picture weighed against a replayed one.
        known: Logits of the replayed pictures by units that did not see them, ``[n]``.
        shown: The same for the labelled ones, ``[n, v]``.
        auc: Source-balanced AUC of the replayed pictures before and after.
        auc_shown: AUC of the labelled pictures before and after.
    """

    units: Units
    emphasis: float
    known: Floats
    shown: Floats
    auc: tuple[float, float]
    auc_shown: tuple[float, float]


def learn(known: Known, shown: Shown, *, seed: int) -> Learned:
    """Learns a source from labelled pictures.

    Every fold holds out a part of the labelled and of the replayed pictures. The emphasis on the labels is the one
    with the best AUC of the labelled pictures among those that cost the replayed ones no more than they may lose
    (`FORGETTING`); the smallest, where each costs more.

    Args:
        known: The replay, of both classes.
        shown: The labels, of both classes, at least two pictures of each.
        seed: Deals pictures to folds.
    """
    into = space(known.x, known.labels, known.sources)
    old = Points(known.x @ into.basis, known.logits, known.labels, _evened(known.labels, known.sources))
    pictures, views = shown.logits.shape
    new = Points(
        (shown.views @ into.basis).reshape(pictures * views, -1),
        shown.logits.ravel(),
        np.repeat(shown.labels, views),
        np.repeat(_evened(shown.labels, shown.labels.astype(str), shown.weights), views) / views,
    )
    rng = np.random.default_rng(seed)
    folds = min(FOLDS, int(np.bincount(shown.labels).max()))
    old_fold, new_fold = _dealt(known.labels, folds, rng), _dealt(shown.labels, folds, rng)
    each = np.repeat(new_fold, views)
    after_old = np.tile(known.logits, (len(EMPHASES), 1))
    after_new = np.tile(shown.logits.ravel(), (len(EMPHASES), 1))
    for fold in range(folds):
        for row, units in enumerate(fit(old.of(old_fold != fold), new.of(each != fold), into, EMPHASES)):
            after_old[row, old_fold == fold] += units.change(old.x[old_fold == fold])
            after_new[row, each == fold] += units.change(new.x[each == fold])
    before = balanced_auc(known.logits, known.labels, known.sources)
    kept = [balanced_auc(row, known.labels, known.sources) for row in after_old]
    gained = [_auc(row.reshape(pictures, views), shown.labels) for row in after_new]
    loss = FORGETTING + OF_ERRORS * (1 - before)
    bearable = [row for row in range(len(EMPHASES)) if before - kept[row] <= loss] or [0]
    best = max(bearable, key=lambda row: gained[row])
    (*_, units) = fit(old, new, into, EMPHASES[: best + 1])
    return Learned(
        Units(units.slopes @ into.basis.T, units.constants),
        EMPHASES[best],
        after_old[best],
        after_new[best].reshape(pictures, views),
        (before, kept[best]),
        (_auc(shown.logits, shown.labels), gained[best]),
    )


def _auc(logits: Floats, labels: Labels) -> float:
    return balanced_auc(logits.mean(1), labels, labels.astype(str))


def _evened(labels: Labels, sources: Names, worth: Floats | None = None) -> Floats:
    """Weights ``[n]``: worth by the inverse root of the source's size, both classes equal in sum, mean 1."""
    _, place, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    weights = (1.0 if worth is None else worth) / np.sqrt(sizes[place])
    for label in (0, 1):
        weights[labels == label] *= len(labels) / 2 / weights[labels == label].sum()
    return weights


def _dealt(labels: Labels, folds: int, rng: np.random.Generator) -> Labels:
    """A fold for every picture, each class spread evenly."""
    fold = np.zeros(len(labels), np.int64)
    for label in (0, 1):
        member = np.flatnonzero(labels == label)
        fold[rng.permutation(member)] = np.arange(len(member)) % folds
    return fold
