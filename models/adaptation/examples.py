"""Labelled pictures as adaptation learns from them: features from the bundle's own graph, or stored embeddings."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.adaptation.graph import FEATURES
from models.adaptation.units import Floats, Labels, Names
from models.bundle import Bundle
from models.classifier import INPUT, LOGIT
from models.crops import crops
from models.dataset.weights import label_weights
from models.decode import Picture, decode
from models.evaluation.delivery import TIERS, delivered
from models.evaluation.pictures import Collection
from models.providers import RUNTIME_ERRORS, open_session
from stream.errors import ConfigurationError, ImageError, InferenceFailed

Advance = Callable[[int], None]
_BROKEN = (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)
_LOWEST = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled pictures.

    Attributes:
        views: Of each picture v views, each the mean over its crops: standardised features or embeddings,
            ``[n, v, d]``.
        logits: The bundle's of every view, ``[n, v]``.
        labels: 1 for machine-made, ``[n]``.
        sources: ``real/NAME`` or ``fake/NAME``, ``[n]``.
        unreadable: Pictures that could not be decoded and were left out.
        weights: What each label is worth against the others of its class, ``[n]``; all the same where None.
    """

    views: Floats
    logits: Floats
    labels: Labels
    sources: Names
    unreadable: int = 0
    weights: Floats | None = None


class Features:
    """A bundle's graph, asked for the features behind the score; see `models.networks.detector`."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        self._session = open_session(bundle.model, wish="cpu", threads=threads)
        self._input = bundle.manifest.input
        self._digest = bundle.digest

    def __call__(self, pictures: Sequence[Picture]) -> tuple[Floats, Floats]:
        """Means over the serving crops: features ``[n, width]`` and logits ``[n]``.

        Raises:
            InferenceFailed: The model fails, or a number is not finite.
        """
        size, count = self._input.size, self._input.crops
        pixels = np.concatenate([crops(picture.pixels, size, count) for picture in pictures])
        try:
            features, logits = self._session.run([FEATURES, LOGIT], {INPUT: pixels})
        except RUNTIME_ERRORS as error:
            raise InferenceFailed(f"the model failed: {error}", where=self._digest) from error
        if not np.isfinite(features).all() or not np.isfinite(logits).all():
            raise InferenceFailed("a feature or a logit is not finite", where=self._digest)
        mean = features.reshape(len(pictures), count, -1).mean(1, dtype=np.float64)
        return mean, logits.reshape(len(pictures), count).mean(1, dtype=np.float64)


def from_pictures(
    collections: Sequence[Collection], bundle: Bundle, *, threads: int = 2, advance: Advance = lambda step: None
) -> Examples:
    """Computes what to learn from: each picture as every tier brings it that the bundle was measured on.

    A column ``weight`` of a collection's ``metadata.csv`` says what its label is worth; 1 where there is none.

    Raises:
        ConfigurationError: Fewer than two pictures of a class can be decoded, a zip breaks in its middle, or a weight
            is no positive number.
        InferenceFailed: The model fails on a picture.
    """
    features = Features(bundle, threads=threads)
    tiers = [tier for tier in TIERS if tier in bundle.manifest.metrics] or TIERS
    views, logits, labels, sources, weights, unreadable = [], [], [], [], [], 0
    for collection in collections:
        for item in collection.items():
            try:
                picture = decode(item.data)
                found = features([delivered(picture, tier) for tier in tiers])
            except ImageError:
                unreadable += 1
            else:
                views.append(found[0])
                logits.append(found[1])
                labels.append(item.label)
                sources.append(item.source)
                weights.append(label_weights([item])[0])
            advance(1)
    where = ", ".join(str(collection.path) for collection in collections)
    _check_classes(np.array(labels, np.int64), where)
    worth = None if set(weights) == {1.0} else np.array(weights)
    return Examples(
        np.stack(views), np.stack(logits), np.array(labels, np.int64), np.array(sources), unreadable, worth
    )  # fmt: skip


def from_embeddings(path: Path, bundle: Bundle, dimensions: int) -> Examples:
    """Reads stored embeddings: an npz of ``vectors [n, D]``, ``scores [n]``, ``labels [n]`` and ``digest``.

    These are the numbers of the embedding event (`stream.embeddings`) with the label that a person gave;
    ``sources [n]`` may name where each came from.

    Args:
        path: The file.
        bundle: The bundle to be adapted, which must be the one that made the embeddings.
        dimensions: Length of its embedding.

    Raises:
        ConfigurationError: Not such a file; another model's embeddings; vectors of another length, numbers that are not
            finite, scores that are no probabilities, labels other than 0 and 1, or fewer than two of a class.
    """
    where = str(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            vectors, scores = arrays["vectors"].astype(np.float64), arrays["scores"].astype(np.float64)
            labels, digest = arrays["labels"].astype(np.int64), str(arrays["digest"])
            sources = arrays["sources"].astype(np.str_) if "sources" in arrays.files else None
    except (*_BROKEN, zipfile.BadZipFile) as error:
        remedy = "It must be an npz of plain arrays: vectors, scores, labels, digest"
        raise ConfigurationError(f"the embeddings cannot be read: {error}", where=where, remedy=remedy) from error
    if digest != bundle.digest:
        remedy = "Adapt the bundle that made them, or give pictures"
        raise ConfigurationError(f"the embeddings are of another model: {digest}", where=where, remedy=remedy)
    count = len(labels)
    if sources is None:
        sources = np.where(labels == 1, "fake/labelled", "real/labelled")
    if vectors.shape != (count, dimensions) or scores.shape != (count,) or sources.shape != (count,):
        what = f"vectors of shape {vectors.shape} where {count} labels ask for ({count}, {dimensions})"
        raise ConfigurationError(what, where=where, remedy="Give one vector, score and label for each picture.")
    if not np.isfinite(vectors).all() or not ((scores >= 0) & (scores <= 1)).all() or not np.isin(labels, (0, 1)).all():
        raise ConfigurationError("a vector is not finite, a score no probability, or a label not 0 or 1", where=where)
    _check_classes(labels, where)
    p = np.clip(scores, _LOWEST, 1 - _LOWEST)
    logits = (np.log(p) - np.log1p(-p) - bundle.calibration.b) / bundle.calibration.a
    return Examples(vectors[:, None], logits[:, None], labels, sources)


def _check_classes(labels: Labels, where: str) -> None:
    for label, name in ((0, "authentic"), (1, "machine-made")):
        if (labels == label).sum() < 2:  # noqa: PLR2004 - one to learn from, one to check on
            remedy = "A source is learned from pictures of both classes, at least two of each."
            raise ConfigurationError(f"there are fewer than two {name} pictures", where=where, remedy=remedy)
