"""Training on frozen features, from pictures to a bundle: the order of things, and nothing else.

Frozen features of degraded crops, a head out of fold (for the figures and the calibration), a head on everything (to
ship), one ONNX graph. Equal recipe, data and thread count give an equal bundle but for its date.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import calibration
from models.bundle import Bundle
from models.dataset.manifest import DataManifest
from models.evaluation.delivery import TIERS, Tier
from models.evaluation.pictures import Item
from models.manifest import TrainingData
from models.networks.registry import build
from models.recipes import Frozen
from models.training import card, finish, folds, head, pictures
from models.training.evaluate import Labels, Logits, Sources, measures
from models.training.features import Extractor, Features, variants
from models.training.intake import take_in
from models.training.progress import SILENT, Listener
from models.training.served import served

SIMULATED_SOURCE = "real/simulated-camera"
_SPLIT = (
    "Figures and calibration are out of fold: of the photographs' archives whole sources are left out together, one "
    "fold of real and machine-made sources at a time; simulated scenes are left out by stem. The shipped head saw all."
)


def train(
    data: Sequence[Path],
    out: Path,
    recipe: Frozen,
    *,
    test: Path | None = None,
    parent: DataManifest | None = None,
    threads: int = 2,
    command: str = "",
    listener: Listener = SILENT,
) -> Bundle:
    """Train a bundle.

    Args:
        data: Zips and folders in ImageFolder layout. One that holds `SIMULATED_SOURCE` counts as simulated scenes.
        out: The bundle's folder, which must not exist yet.
        recipe: The run.
        test: A zip of scenes measured apart with the shipped head, family by family; nothing is fitted on it.
        parent: The manifest of the data that these pictures grew out of.
        threads: Of ONNX Runtime.
        command: What the card gives as the way to make it again.
        listener: Is told what is going on.

    Returns:
        The bundle written to ``out``.

    Raises:
        ConfigurationError: the pictures cannot be used.
        BundleInvalid: ``out`` is there already.
    """
    apart = pictures.read([test])[0].items if test else ()
    taken = take_in(data, recipe, parent=parent, listener=listener)
    archives, items = taken.archives, taken.items
    labels, sources = taken.dataset.labels, taken.dataset.sources
    simulated = np.concatenate([
        np.full(len(archive.items), any(item.source == SIMULATED_SOURCE for item in archive.items))
        for archive in archives
    ])  # fmt: skip
    trunk = build("efficientnet_lite0", "imagenet", blocks=recipe.blocks).fuse()
    extractor = Extractor(trunk, recipe.crop, threads)
    listener.begin(f"features of {recipe.variants} degraded crops", len(items))
    features = variants(
        items, extractor, count=recipe.variants, size=recipe.crop, seed=recipe.seed, progress=listener.advance
    )
    tiers: dict[str, Features] = {tier: serving(items, extractor, recipe, tier, listener) for tier in TIERS}

    def fit(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> head.Head:
        return head.fit(
            features[chosen], labels[chosen], sources[chosen], strength=recipe.strength, clip=recipe.clip
        )  # fmt: skip

    listener.say(f"{recipe.folds} folds, whole sources left out")
    stems = np.array([f"{item.source}/{item.stem}" for item in items])
    fold = folds.assign(labels, sources, stems, simulated, recipe.folds)
    scores = folds.out_of_fold(fold, tiers, fit)
    calibrated = calibration.fit(
        scores["clean"], labels,
        on="out-of-fold training pictures (whole photo sources left out, scenes left out by stem), as delivered",
        false_positive_rate=recipe.false_positive_rate, false_negative_rate=recipe.false_negative_rate,
    )  # fmt: skip
    metrics = _slices(scores, labels, sources, simulated, calibrated=calibrated, seed=recipe.seed)
    fitted = fit(np.ones(len(items), bool))
    if apart:
        listener.say("scenes kept apart, family by family")
        _families(metrics, apart, extractor, recipe, fitted=fitted, calibrated=calibrated)
    listener.say("export")
    directions = head.principal_directions(fitted.standardise(features[:, 0]), recipe.dimensions)
    data_used = TrainingData(sources=pictures.sources(archives, "train"), split=_SPLIT, seed=recipe.seed)
    stated = finish.manifest(recipe, recipe.crop, data_used, metrics)
    text = card.write(stated, calibrated, recipe, command)
    return finish.write(
        out, stated, trunk=trunk, fitted=fitted, directions=directions, calibrated=calibrated, card=text,
        data=taken.dataset.manifest,
    )  # fmt: skip


def serving(
    items: Sequence[Item], extractor: Extractor, recipe: Frozen, tier: Tier, listener: Listener = SILENT
) -> Features:
    """Features of the crops a worker would cut, after delivery: float32 ``[N, crops, width]``."""
    listener.begin(f"features as served, {tier}", len(items))
    rows = []
    for cut in served(items, tier, recipe.crop, recipe.crops):
        rows.append(extractor(cut.reshape(-1, *cut.shape[2:])).reshape(len(cut), recipe.crops, -1))
        listener.advance(len(cut))
    return np.concatenate(rows)


def _slices(
    scores: dict[str, Logits],
    labels: Labels,
    sources: Sources,
    simulated: np.ndarray[tuple[int], np.dtype[np.bool_]],
    *,
    calibrated: calibration.Calibration,
    seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Out-of-fold figures: tier, then slice (photographs or scenes), then measure."""
    parts = {"photographs-unseen-sources": ~simulated, "scenes-unseen-stems": simulated}
    return {
        tier: {
            name: measures(logits[part], labels[part], sources[part], calibrated, seed=seed)
            for name, part in parts.items()
            if len(set(labels[part])) > 1
        }
        for tier, logits in scores.items()
    }


def _families(
    metrics: dict[str, dict[str, dict[str, float]]],
    items: Sequence[Item],
    extractor: Extractor,
    recipe: Frozen,
    *,
    fitted: head.Head,
    calibrated: calibration.Calibration,
) -> None:
    """Adds, for each family of the scenes kept apart, the shares called right at even odds and by each verdict."""
    sources = np.array([item.source for item in items])
    for tier in TIERS:
        logits = fitted.score(serving(items, extractor, recipe, tier)).mean(1)
        p = np.array([calibrated.probability(float(logit)) for logit in logits])
        for source in np.unique(sources):
            chosen = p[sources == source]
            verdicts = [calibrated.verdict(float(value)) for value in chosen]
            metrics[tier][f"test-scenes:{source}"] = {
                "above_even_odds": round(float((chosen >= 0.5).mean()), 4),  # noqa: PLR2004
                **{name: round(verdicts.count(name) / len(verdicts), 4) for name in ("ai_generated", "authentic")},
                "pictures": float(len(chosen)),
            }
