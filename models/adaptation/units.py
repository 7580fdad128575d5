"""What is learned: a shift of the linear head, and two softplus units over the same features.

Pictures come from a mixture of sources, so with shared covariance the odds that one is machine-made are those of the
known sources, times one plus the density of the new machine-made source over theirs, divided by one plus the density
of the new authentic source over theirs. In logits that is

    logit = old + shift(x) + softplus(made(x)) − softplus(authentic(x))

with linear ``shift``, ``made`` and ``authentic``. Far from the new source both units are near zero and the old answer
stands: that is how something is learned and little forgotten. The units start as linear discriminants (R. Fisher, "The
use of multiple measurements in taxonomic problems", 1936) under the covariance within the old sources, the estimate
that a few labels could not give, and all three are then fitted by logistic regression on replay and labels together,
held near their start: loosely where known sources differ from each other, and tightly elsewhere. So a new source is
taken to differ from the known as these do, an empirical prior (B. Efron and C. Morris, "Stein's estimation rule and its
competitors", 1973), and the rest of what the old pictures are told apart by is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]

SHRINKAGE = 0.3
ENOUGH = 10
"""Contrasts between known sources, two fewer than these, that say as much of a new one as not knowing does."""

_SLOPE = 0.5
_SHIFT_TETHER = 1e4
_TIGHT, _LOOSE = 1500.0, 50.0
"""How tightly the units are held where nothing is known of how sources differ, and where all is: the space's directions
are then the likely ones, and only then is there room to move in them."""

_FREE = 0.01
_STEPS = 40
_SHIFT, _MADE, _AUTHENTIC = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Rows ``shift``, ``made`` and ``authentic``: ``slopes [3, d]`` and ``constants [3]``."""

    slopes: Floats
    constants: Floats

    def change(self, x: Floats) -> Floats:
        """What the logits of points ``[…, d]`` change by, ``[…]``."""
        shift, made, authentic = np.moveaxis(x @ self.slopes.T + self.constants, -1, 0)
        found: Floats = shift + np.logaddexp(0, made) - np.logaddexp(0, authentic)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Pictures as points ``x [n, d]``, with the old model's ``logits``, ``labels`` and ``weights``, each ``[n]``."""

    x: Floats
    logits: Floats
    labels: Labels
    weights: Floats

    def of(self, chosen: npt.NDArray[np.bool_]) -> Points:
        """Those marked true."""
        return Points(self.x[chosen], self.logits[chosen], self.labels[chosen], self.weights[chosen])

    def mean(self, label: int) -> Floats:
        """Weighted mean of a class, ``[d]``."""
        member = self.labels == label
        found: Floats = np.average(self.x[member], axis=0, weights=self.weights[member])
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Coordinates ``x @ basis`` in which a slope is as likely in any direction, and the covariance ``within`` sources.

    Both ``[d, d]``; ``within`` is that of ``x @ basis``. A slope over these is one over ``x`` after ``@ basis.T``.
    ``known``, from 0 to 1, is how much the known sources say of a new one.
    """

    basis: Floats
    within: Floats
    known: float


def space(x: Floats, labels: Labels, sources: Names) -> Space:
    """Where a lesson is learned: its slopes are likely as those of the discriminants between known sources are.

    As far, that is, as there are sources enough of one class to tell (`ENOUGH`), and else as those between points that
    differ as pictures of one source do.

    Args:
        x: Points of known sources, ``[n, d]``.
        labels: Their classes, both, ``[n]``.
        sources: Their sources, each of one class, ``[n]``; every source weighs the root of its size.
    """
    _, first, place, sizes = np.unique(sources, return_index=True, return_inverse=True, return_counts=True)
    means = np.zeros((len(sizes), x.shape[1]))
    np.add.at(means, place, x)
    means /= sizes[:, None]
    white = _whitening(x - means[place], 1 / np.sqrt(sizes)[place])
    between = _between(means @ white, labels[first], np.sqrt(sizes))
    contrasts = len(sizes) - 2
    known = contrasts / (contrasts + ENOUGH)
    likely = known * between + (1 - known) * np.eye(len(between))
    # In the whitened space a discriminant is the difference of two means, so that `likely` is the slopes' covariance
    # there; after its root it is a sphere, and the covariance within sources, which was one, is `likely`.
    values, vectors = np.linalg.eigh(likely)
    return Space(white @ (vectors * np.sqrt(values)) @ vectors.T, likely, known)


def _whitening(centred: Floats, weights: Floats) -> Floats:
    """The matrix after which a covariance, shrunk towards a sphere, is the identity."""
    covariance = (centred.T * weights) @ centred / weights.sum()
    spread = max(float(np.trace(covariance)) / len(covariance), np.finfo(np.float64).tiny)
    factor = np.linalg.cholesky(covariance + SHRINKAGE * spread * np.eye(len(covariance)))
    found: Floats = np.linalg.inv(factor).T
    return found


def _between(means: Floats, labels: Labels, weights: Floats) -> Floats:
    """Covariance of sources' means around those of their classes, scaled to a mean variance of 1."""
    away = means.copy()
    for label in np.unique(labels):
        member = labels == label
        away[member] -= np.average(means[member], axis=0, weights=weights[member])
    covariance = (away.T * weights) @ away
    found: Floats = covariance * len(covariance) / max(float(np.trace(covariance)), np.finfo(np.float64).tiny)
    return found


def fit(old: Points, new: Points, into: Space, emphases: tuple[float, ...]) -> Iterator[Units]:
    """Fits the units for one emphasis after another, each starting where the last ended.

    Args:
        old: Replayed pictures, in a lesson's space.
        new: Labelled pictures of the new source, in the same, of both classes.
        into: The space.
        emphases: How much more one of the new pictures weighs than one of the old.

    Yields:
        The units, one for each emphasis. Deterministic.
    """
    start = _discriminants(old, new, into.within)
    held = _TIGHT + (_LOOSE - _TIGHT) * into.known
    tether = np.tile(np.array([[_SHIFT_TETHER], [held], [held]]), start.shape[1])
    tether[:, -1] *= _FREE
    x = np.concatenate([old.x, new.x])
    rows = np.concatenate([x, np.ones((len(x), 1))], 1).astype(np.float32)
    labels = np.concatenate([old.labels, new.labels]).astype(np.float32)
    logits = np.concatenate([old.logits, new.logits])
    found = start
    for emphasis in emphases:
        weights = np.concatenate([old.weights, new.weights * emphasis])
        found = _fitted(rows, labels, logits, weights, tether, first=found, start=start)
        yield Units(found[:, :-1], found[:, -1])


def _discriminants(old: Points, new: Points, within: Floats) -> Floats:
    start = np.zeros((3, old.x.shape[1] + 1))
    for row, label in ((_MADE, 1), (_AUTHENTIC, 0)):
        there, here = new.mean(label), old.mean(label)
        slope = _SLOPE * np.linalg.solve(within, there - here)
        start[row] = np.append(slope, -(there + here) @ slope / 2)
    return start


def _fitted(
    rows: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    logits: Floats,
    weights: Floats,
    tether: Floats,
    *,
    first: Floats,
    start: Floats,
) -> Floats:
    def loss(flat: Floats) -> tuple[float, Floats]:
        found = flat.reshape(start.shape)
        shift, made, authentic = (rows @ found.T.astype(np.float32)).astype(np.float64).T
        z = logits + shift + np.logaddexp(0, made) - np.logaddexp(0, authentic)
        error = weights * (_sigmoid(z) - labels)
        errors = np.stack([error, error * _sigmoid(made), -error * _sigmoid(authentic)]).astype(np.float32)
        away = found - start
        value = float((weights * (np.logaddexp(0, z) - labels * z)).sum() + (tether * away * away).sum() / 2)
        return value, (errors @ rows + tether * away).ravel()

    done = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.asarray(done.x, np.float64).reshape(start.shape)


def _sigmoid(z: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -z))
