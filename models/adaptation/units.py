"""What is learned: a shift of the linear head, and two softplus units over the same features.

Pictures come from a mixture of sources, so with shared covariance the odds that one is machine-made are those of the
known sources, times one plus the density of the new machine-made source over theirs, divided by one plus the density
of the new authentic source over theirs. In logits that is

    logit = old + shift(x) + softplus(made(x)) − softplus(authentic(x))

with linear ``shift``, ``made`` and ``authentic``. Far from the new source both units are near zero and the old answer
stands: that is how something is learned and little forgotten. The units start as linear discriminants (R. Fisher, "The
use of multiple measurements in taxonomic problems", 1936) under the covariance within the old sources, the estimate
that a few labels could not give, and all three are then fitted by logistic regression on replay and labels together,
held near their start in the metric of that covariance.
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
_SLOPE = 0.5
_TETHERS = (3000.0, 1000.0, 1000.0)
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


def whitening(x: Floats, sources: Names) -> Floats:
    """The matrix ``[d, d]`` after which the covariance within sources, shrunk towards a sphere, is the identity.

    Args:
        x: Points of known sources, ``[n, d]``.
        sources: Their sources, ``[n]``; every source weighs the root of its size.
    """
    _, place, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), x.shape[1]))
    np.add.at(sums, place, x)
    centred = x - (sums / sizes[:, None])[place]
    weights = 1 / np.sqrt(sizes)[place]
    covariance = (centred.T * weights) @ centred / weights.sum()
    spread = max(float(np.trace(covariance)) / len(covariance), np.finfo(np.float64).tiny)
    factor = np.linalg.cholesky(covariance + SHRINKAGE * spread * np.eye(len(covariance)))
    found: Floats = np.linalg.inv(factor).T
    return found


def fit(old: Points, new: Points, emphases: tuple[float, ...]) -> Iterator[Units]:
    """Fits the units for one emphasis after another, each starting where the last ended.

    Args:
        old: Replayed pictures, whitened.
        new: Labelled pictures of the new source, whitened, of both classes.
        emphases: How much more one of the new pictures weighs than one of the old.

    Yields:
        The units, one for each emphasis. Deterministic.
    """
    start = _discriminants(old, new)
    x = np.concatenate([old.x, new.x])
    rows = np.concatenate([x, np.ones((len(x), 1))], 1).astype(np.float32)
    labels = np.concatenate([old.labels, new.labels]).astype(np.float32)
    logits = np.concatenate([old.logits, new.logits])
    found = start
    for emphasis in emphases:
        weights = np.concatenate([old.weights, new.weights * emphasis])
        found = _fitted(rows, labels, logits, weights, first=found, start=start)
        yield Units(found[:, :-1], found[:, -1])


def _discriminants(old: Points, new: Points) -> Floats:
    start = np.zeros((3, old.x.shape[1] + 1))
    for row, label in ((_MADE, 1), (_AUTHENTIC, 0)):
        there, here = new.mean(label), old.mean(label)
        slope = _SLOPE * (there - here)
        start[row] = np.append(slope, -(there + here) @ slope / 2)
    return start


def _fitted(
    rows: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    logits: Floats,
    weights: Floats,
    *,
    first: Floats,
    start: Floats,
) -> Floats:
    tether = np.tile(np.array(_TETHERS, np.float64)[:, None], start.shape[1])
    tether[:, -1] *= _FREE

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
