"""What each picture counts: what its label is worth, and no large source or class drowns the others."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.evaluation.pictures import Item
from stream.errors import ConfigurationError


def label_weights(items: Iterable[Item]) -> NDArray[np.float64]:
    """What each label is worth by the column ``weight`` of ``metadata.csv``, ``[N]``; 1 where it says nothing.

    Raises:
        ConfigurationError: A weight is no positive number.
    """
    return np.array([_label_weight(item) for item in items], np.float64)


def _label_weight(item: Item) -> float:
    text = item.facts.get("weight", "1")
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise ConfigurationError(f"a picture's weight is {text!r}", where=item.stem, remedy="Give a positive number")
    return found


def source_weights(
    labels: NDArray[np.int64],
    sources: NDArray[np.str_],
    simulated: NDArray[np.bool_] | None = None,
    share: float = 0.2,
    *,
    worth: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Weight of each picture: inverse square root of its source's size, both classes equal in sum, mean 1.

    It is multiplied by what the picture's label is worth, so a source of doubtful labels has less say in its class.

    Args:
        labels: ``[N]``.
        sources: ``[N]``.
        simulated: Marks simulated scenes, which have ``share`` of each class's weight wherever there are others.
        share: Of the scenes.
        worth: Of each label, ``[N]`` (`label_weights`); all the same where None.
    """
    marked = np.zeros(len(labels), bool) if simulated is None else simulated
    _, place, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    weight = (1.0 if worth is None else worth) / np.sqrt(sizes[place])
    for label in (0, 1):
        groups = [((labels == label) & marked, share), ((labels == label) & ~marked, 1 - share)]
        filled = [(group, part) for group, part in groups if group.any()]
        for group, part in filled:
            weight[group] *= len(labels) / 2 * part / sum(each for _, each in filled) / weight[group].sum()
    return np.asarray(weight, np.float64)
