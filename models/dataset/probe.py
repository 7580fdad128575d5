"""The leak probe: could a model tell the classes apart without looking at a single pixel?

A small gradient boosting sees width, height, format and JPEG quality of the encoded pictures and nothing else. What it
scores is what a network can have for nothing, and then has not learned. Pictures are asked twice: as they were found,
which is reported, and as training hands them on (`check`'s ``delivered``), which decides, because a shortcut that
training removes cannot be learned.

Scores are out of fold, and a fold never parts a group (`models.dataset.splits`), but it may part a source: a shortcut
that holds inside one source only is learned all the same, and leaving the source out would hide it. Within a class
every source weighs by the root of its size, as in training. The share of chance is half; the bound is Wilson's
one-sided 95 % limit (Wilson, 1927) of the balanced accuracy, read as a share of as many independent groups as the
weights leave (Kish, "Survey Sampling", 1965). A set is refused when even the lower limit is over what is allowed: of a
few hundred pictures a clean set is over .55 now and then, and a probe that refuses by chance gets switched off. When
only the score itself is over, the set passes and the report says that it is undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.ensemble import GradientBoostingClassifier

from models.dataset.splits import Labels, Names, draw
from models.dataset.weights import source_weights
from models.intervals import wilson

Columns = Mapping[str, NDArray[np.float64]]
Floats = NDArray[np.float64]

_FOLDS = 5
_ROUNDS = 20
_NONE = -1.0  # stands for NaN: below every trait, so a tree can part it from all
_ONE_SIDED = 1.6448536269514722  # the normal distribution's 95 % quantile


class Probe(BaseModel):
    """What one probe found. ``outcome`` is `untold` where a class has too few groups or no trait to tell by."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    balanced_accuracy: float | None = None
    lower: Annotated[float | None, Field(description="One-sided 95 % limit")] = None
    alone: Annotated[dict[str, float], Field(description="Balanced accuracy of each trait by itself")] = {}
    told_by: Annotated[str, Field(description="The trait that tells most by itself")] = ""
    outcome: Literal["passed", "undecided", "leak", "untold"] = "untold"


def probe(columns: Columns, labels: Labels, sources: Names, groups: Names, *, limit: float, seed: int) -> Probe:
    """Asks how well the classes are told apart by some traits.

    Args:
        columns: Traits by name, ``[N]`` each; NaN where a picture has none. Formats are numbered.
        labels: ``[N]``; 1 for machine-made.
        sources: ``[N]``, names.
        groups: ``[N]``; what shares a group is never on both sides of a fold.
        limit: Balanced accuracy that is allowed.
        seed: Of the folds.

    Returns:
        The result; equal arguments give an equal one.
    """
    fold = _folds(labels, groups, seed)
    telling = {name: values for name, values in columns.items() if len(np.unique(values)) > 1}
    if fold is None:
        return Probe(pictures=len(labels))
    if not telling:
        half = 0.5
        return Probe(pictures=len(labels), balanced_accuracy=half, lower=half, outcome="passed")
    weights = source_weights(labels, sources)
    alone = {
        name: round(_balanced(_right([values], labels, weights, fold), labels, weights), 4)
        for name, values in telling.items()
    }
    right = _right(list(telling.values()), labels, weights, fold)
    score = _balanced(right, labels, weights)
    # The mean of two shares varies as one share of so many trials does.
    trials = 4 / sum(1 / _effective(weights[labels == label], groups[labels == label]) for label in (0, 1))
    lower, _ = wilson(score * trials, trials, _ONE_SIDED) or (0.0, 1.0)
    return Probe(
        pictures=len(labels),
        balanced_accuracy=round(score, 4),
        lower=round(lower, 4),
        alone=alone,
        told_by=max(alone, key=lambda name: alone[name]),
        outcome="leak" if lower > limit else "undecided" if score > limit else "passed",
    )


def _folds(labels: Labels, groups: Names, seed: int) -> NDArray[np.int64] | None:
    """Deals the groups of each class out to folds in a drawn order; None where a class has fewer than two groups."""
    names, first, place = np.unique(groups, return_index=True, return_inverse=True)
    fold = np.zeros(len(names), np.int64)
    counts = [int((labels[first] == label).sum()) for label in (0, 1)]
    if min(counts) < 2:  # noqa: PLR2004 - one to learn from, one to try on
        return None
    order = np.argsort(draw(names, seed), kind="stable")
    for label in (0, 1):
        mine = order[labels[first][order] == label]
        fold[mine] = np.arange(len(mine)) % min(_FOLDS, *counts)
    return np.asarray(fold[place])


def _right(traits: Sequence[Floats], labels: Labels, weights: Floats, fold: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pictures are told rightly by a model that saw neither them nor their group."""
    table = np.nan_to_num(np.stack(traits, axis=1), nan=_NONE)
    said = np.zeros(len(labels), np.int64)
    for number in np.unique(fold):
        held = fold == number
        model = GradientBoostingClassifier(
            n_estimators=_ROUNDS, learning_rate=0.2, min_samples_leaf=int(np.clip((~held).sum() // 50, 2, 20)),
            random_state=0,
        )  # fmt: skip
        model.fit(table[~held], labels[~held], sample_weight=weights[~held])
        said[held] = model.predict(table[held])
    return np.asarray(said == labels)


def _balanced(right: NDArray[np.bool_], labels: Labels, weights: Floats) -> float:
    shares = [float(np.average(right[labels == label], weights=weights[labels == label])) for label in (0, 1)]
    return sum(shares) / 2


def _effective(weights: Floats, groups: Names) -> float:
    """How many independent groups of equal weight say as much: (Σw)² / Σw² over groups."""
    _, place = np.unique(groups, return_inverse=True)
    total = np.bincount(place, weights)
    return float(total.sum() ** 2 / (total**2).sum())
