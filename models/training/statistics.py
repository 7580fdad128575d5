"""Eleven statistics of a crop's pixels, the bar that a detector must clear: what they tell is no detection.

Brightness, contrast, saturation and sharpness say which site a picture is from as readily as how it was made. A network
that is not clearly better than they are has learned no more than that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from models.training.evaluate import Labels

Statistics = NDArray[np.float32]

NAMES = (
    "brightness", "contrast", "saturation", "spread of saturation", "red less green", "blue less green",
    "horizontal steps", "vertical steps", "Laplacian", "steps on the 8-pixel grid over others", "black and white",
)  # fmt: skip
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK = 8


def statistics(crops: NDArray[np.uint8]) -> Statistics:
    """The `NAMES` of crops uint8 ``[N, S, S, 3]``: float32 ``[N, 11]``."""
    x = crops.astype(np.float32)
    luma = x @ _LUMA
    red, green, blue = np.moveaxis(x, 3, 0)
    # Over an axis of three, numpy's own max and min take longer than all the rest.
    saturation = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    across, down = np.abs(np.diff(luma, axis=2)), np.abs(np.diff(luma, axis=1))
    laplacian = np.abs(4 * luma[:, 1:-1, 1:-1] - luma[:, :-2, 1:-1] - luma[:, 2:, 1:-1]
                       - luma[:, 1:-1, :-2] - luma[:, 1:-1, 2:])  # fmt: skip
    columns = across.mean(1)
    phases = np.stack([columns[:, phase::_BLOCK].mean(1) for phase in range(_BLOCK)], 1)
    found = (
        luma.mean((1, 2)), luma.std((1, 2)), saturation.mean((1, 2)), saturation.std((1, 2)),
        (red - green).mean((1, 2)), (blue - green).mean((1, 2)),
        across.mean((1, 2)), down.mean((1, 2)), laplacian.mean((1, 2)),
        phases.max(1) / (phases.mean(1) + 1),
        ((luma < 1) | (luma > 254)).mean((1, 2)),  # noqa: PLR2004 - the ends of 8 bits
    )  # fmt: skip
    return np.stack(found, 1).astype(np.float32)


class Boosted:
    """Gradient-boosted trees on the statistics; deterministic.

    Args:
        found: Of every variant of every picture, ``[N, V, 11]``.
        labels: ``[N]``.
        weights: ``[N]``.
    """

    def __init__(self, found: Statistics, labels: Labels, weights: NDArray[np.float64]) -> None:
        variants = found.shape[1]
        self._trees = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, random_state=0)
        self._trees.fit(
            found.reshape(-1, found.shape[2]), np.repeat(labels, variants), sample_weight=np.repeat(weights, variants)
        )

    def score(self, found: Statistics | NDArray[np.float16]) -> NDArray[np.float64]:
        """Log-odds ``[…]`` of statistics ``[…, 11]``."""
        odds = self._trees.decision_function(found.reshape(-1, found.shape[-1]))
        return np.asarray(odds, np.float64).reshape(found.shape[:-1])
