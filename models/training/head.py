"""The head: standardised, clipped features and logistic regression, with every source given a fair say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.training.features import Features

_SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted head; `score` gives logits for raw features."""

    centre: Features
    scale: Features
    clip: float
    weight: Features
    bias: float

    def standardise(self, features: Features) -> Features:
        """Raw features ``[…, width]`` to standardised, clipped ones."""
        return np.asarray(np.clip((features - self.centre) / self.scale, -self.clip, self.clip), np.float32)

    def score(self, features: Features) -> NDArray[np.float64]:
        """Logits ``[…]`` of raw features ``[…, width]``."""
        return np.asarray(self.standardise(features) @ self.weight + self.bias, np.float64)


def source_weights(labels: NDArray[np.int64], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Weight of each picture: inverse square root of its source's size, both classes equal in sum, mean 1."""
    names, place, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    del names
    weight = 1 / np.sqrt(sizes[place])
    for label in (0, 1):
        chosen = labels == label
        weight[chosen] *= len(labels) / 2 / weight[chosen].sum()
    return np.asarray(weight, np.float64)


def fit(
    features: Features,
    labels: NDArray[np.int64],
    sources: NDArray[np.str_],
    *,
    strength: float,
    clip: float = 6.0,
) -> Head:
    """Fit a head.

    Args:
        features: ``[N, V, width]``, V variants of each of N pictures.
        labels: ``[N]``; 1 for machine-made.
        sources: ``[N]``, names.
        strength: scikit-learn's C.
        clip: Standardised features are clipped at ± this.

    Returns:
        The head. Deterministic.
    """
    count = features.shape[1]
    flat = features.reshape(-1, features.shape[2])
    head = Head(
        flat.mean(0, dtype=np.float64).astype(np.float32),
        np.maximum(flat.std(0, dtype=np.float64), _SMALLEST_DEVIATION).astype(np.float32),
        clip, np.zeros(flat.shape[1], np.float32), 0.0,
    )  # fmt: skip
    model = LogisticRegression(C=strength, max_iter=300, tol=1e-4)
    weights = np.repeat(source_weights(labels, sources), count)
    model.fit(head.standardise(flat), np.repeat(labels, count), sample_weight=weights)
    return Head(head.centre, head.scale, clip, model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def principal_directions(standardised: Features, dimensions: int) -> Features:
    """The first principal directions, float32 ``[width, dimensions]``, each with its largest entry positive."""
    covariance = np.cov(standardised.astype(np.float64), rowvar=False)
    _, vectors = np.linalg.eigh(covariance)
    chosen = vectors[:, ::-1][:, :dimensions]
    signs = np.sign(chosen[np.abs(chosen).argmax(0), np.arange(chosen.shape[1])])
    return np.asarray(chosen * signs, np.float32)
