"""The head: standardised, clipped features and regularised least squares, every source given a fair say.

Least squares on labels of ±1 finds Fisher's discriminant (C. Bishop, "Pattern Recognition and Machine Learning", 2006,
4.1.5), and needs the features' weighted sums and products only. These are gathered once, so that leaving some pictures
out costs their own sums, taken off, and one solution of a linear system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from models.adaptation.replay import leading
from models.training.features import Features, Halves

_SMALLEST_DEVIATION = 1e-3
_SMALLEST_SPREAD = 1e-12
_ROWS = 2048
_PICTURES = 256


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted head; `score` gives logits for raw features."""

    centre: Features
    scale: Features
    clip: float
    weight: Features
    bias: float

    def standardise(self, features: Features | Halves) -> Features:
        """Raw features ``[…, width]`` to standardised, clipped ones."""
        return np.asarray(np.clip((features - self.centre) / self.scale, -self.clip, self.clip), np.float32)

    def scaled(self, a: float, b: float) -> Head:
        """The head whose logits are ``a · logit + b``."""
        weight = (self.weight * np.float32(a)).astype(np.float32)
        return Head(self.centre, self.scale, self.clip, weight, self.bias * a + b)

    def score(self, features: Features | Halves) -> NDArray[np.float64]:
        """Logits ``[…]`` of raw features ``[…, width]``."""
        return np.asarray(self.standardise(features) @ self.weight + self.bias, np.float64)


class Fitter:
    """Fits heads on all pictures but some.

    Features are standardised once, over all pictures: what is left out lends its share to two figures of a feature,
    and nothing else.

    Args:
        features: Raw, ``[N, V, width]``, V variants of each of N pictures; float16 will do.
        labels: ``[N]``; 1 for machine-made.
        weights: ``[N]``, of each picture.
        shrinkage: Added to the covariance's diagonal, as a share of its mean.
        clip: Standardised features are clipped at ± this.
        steadiness: How many times the differences between variants of one picture count in the covariance. Above 1 the
            head leans less on features that a delivery changes; after the nuisance covariance of speaker verification
            (A. Hatch, S. Kajarekar and A. Stolcke, "Within-class covariance normalization for SVM-based speaker
            recognition", Interspeech 2006).
    """

    def __init__(
        self,
        features: Features | Halves,
        labels: NDArray[np.int64],
        weights: NDArray[np.float64],
        *,
        shrinkage: float,
        clip: float,
        steadiness: float = 1.0,
    ) -> None:
        centre, scale = _standard(features.reshape(-1, features.shape[2]))
        self._blank = Head(centre, scale, clip, np.zeros(len(centre), np.float32), 0.0)
        self._features, self._labels, self._weights = features, labels, weights
        self._shrinkage, self._steadiness = shrinkage, np.float32(steadiness)
        self._all = self._sums(np.ones(len(labels), bool))

    def __call__(self, without: NDArray[np.bool_] | None = None) -> Head:
        """The head fitted on every picture but those marked, ``[N]``. Deterministic."""
        kept = self._all
        if without is not None and without.any():
            kept = [all_of.less(left) for all_of, left in zip(kept, self._sums(without), strict=True)]
        real, fake = (sums.mean / sums.weight for sums in kept)
        matrix = sum(sums.products / np.float32(2 * sums.weight) for sums in kept)
        mean = (real + fake) / 2
        matrix -= np.outer(mean, mean).astype(np.float32)
        spread = matrix.copy()
        matrix[np.diag_indices(len(mean))] += np.float32(self._shrinkage * np.trace(matrix) / len(mean))
        towards = ((fake - real) / 2).astype(np.float32)
        weight = scipy.linalg.solve(matrix, towards, assume_a="pos", overwrite_a=True).astype(np.float64)
        weight /= max(float(np.sqrt(weight @ spread @ weight)), _SMALLEST_SPREAD)
        blank = self._blank
        bias = -float((real + fake) @ weight) / 2
        return Head(blank.centre, blank.scale, blank.clip, weight.astype(np.float32), bias)

    def _sums(self, chosen: NDArray[np.bool_]) -> list[_Sums]:
        """Of the marked pictures, authentic and machine-made."""
        found = []
        for label in (0, 1):
            places = np.flatnonzero(chosen & (self._labels == label))
            sums = _Sums.none(len(self._blank.centre))
            for start in range(0, len(places), _PICTURES):
                block = places[start : start + _PICTURES]
                seen = self._blank.standardise(self._features[block].astype(np.float32))
                if self._steadiness != 1:
                    usual = seen.mean(1, keepdims=True)
                    seen = usual + self._steadiness * (seen - usual)
                sums.add(seen.reshape(-1, seen.shape[2]), np.repeat(self._weights[block], self._features.shape[1]))
            found.append(sums)
        return found


@dataclass(slots=True, eq=False)
class _Sums:
    """The weight of some pictures, and the weighted sums of their features and of these features' products."""

    weight: float
    mean: NDArray[np.float64]
    products: Features

    @classmethod
    def none(cls, width: int) -> _Sums:
        return cls(0.0, np.zeros(width), np.zeros((width, width), np.float32))

    def add(self, rows: Features, weights: NDArray[np.float64]) -> None:
        self.weight += float(weights.sum())
        self.mean += weights @ rows
        self.products += rows.T @ (rows * weights.astype(np.float32)[:, None])

    def less(self, other: _Sums) -> _Sums:
        return _Sums(self.weight - other.weight, self.mean - other.mean, self.products - other.products)


def _standard(flat: Features | Halves) -> tuple[Features, Features]:
    """Mean and standard deviation of every feature, in blocks of rows: the rows may be float16."""
    total = np.zeros(flat.shape[1])
    squares = np.zeros(flat.shape[1])
    first = flat[:_ROWS].astype(np.float64).mean(0)
    for start in range(0, len(flat), _ROWS):
        block = flat[start : start + _ROWS].astype(np.float64) - first
        total += block.sum(0)
        squares += (block**2).sum(0)
    mean = total / len(flat)
    deviation = np.sqrt(np.maximum(squares / len(flat) - mean**2, 0))
    return (mean + first).astype(np.float32), np.maximum(deviation, _SMALLEST_DEVIATION).astype(np.float32)


def principal_directions(standardised: Features, dimensions: int, parts: Sequence[tuple[int, float]]) -> Features:
    """The first principal directions, float32 ``[width, dimensions]``, each with its largest entry positive.

    Args:
        standardised: ``[n, width]``.
        dimensions: How many.
        parts: Kinds of features; see `models.adaptation.replay.leading`.
    """
    chosen = leading(np.cov(standardised.astype(np.float64), rowvar=False), dimensions, parts)
    signs = np.sign(chosen[np.abs(chosen).argmax(0), np.arange(chosen.shape[1])])
    return np.asarray(chosen * signs, np.float32)
