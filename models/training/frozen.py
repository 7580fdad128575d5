"""Training on frozen features, from pictures to a bundle: the order of things, and nothing else.

Frozen features of degraded crops, a head out of fold (for the figures and the calibration), a head on everything (to
ship), one ONNX graph. Equal recipe, data and thread count give an equal bundle but for its date and the time that a
crop was seen to take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import calibration
from models.adaptation import replay
from models.bundle import Bundle
from models.dataset.manifest import DataManifest
from models.dataset.weights import label_weights, source_weights
from models.evaluation.delivery import Tier
from models.manifest import TrainingData
from models.networks.registry import build
from models.recipes import Frozen
from models.training import card, finish, folds, head, pictures, rotation, sourcewise, thresholds
from models.training.evaluate import Labels, Logits, Sources, measures
from models.training.features import Extractor, Seen, serving, variants
from models.training.intake import take_in
from models.training.progress import SILENT, Listener
from models.training.shipped import Trunk
from models.training.statistics import Boosted

SIMULATED_SOURCE = "real/simulated-camera"
_SPLIT = (
    "Figures and calibration are out of fold: each generator was left out in turn, together with two whole sources of "
    "authentic pictures; simulated scenes are left out by stem. The shipped head saw all."
)
_SCENES_SPLIT = (
    "Figures and calibration are out of fold: a part of the scenes was left out in turn, of every family. They say how "
    "well known families are told from photographs, and nothing of others. The shipped head saw all."
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
        data: Zips and folders in ImageFolder layout. One that holds `SIMULATED_SOURCE` counts as simulated scenes;
            where there is nothing else, no family is left out and no baseline is measured.
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
    tested = pictures.read([test])[0].items if test else ()
    taken = take_in(data, recipe, parent=parent, listener=listener)
    archives, items = taken.archives, taken.items
    labels, sources = taken.dataset.labels, taken.dataset.sources
    simulated = np.concatenate([
        np.full(len(archive.items), any(item.source == SIMULATED_SOURCE for item in archive.items))
        for archive in archives
    ])  # fmt: skip
    stems = np.array([f"{item.source}/{item.stem}" for item in items])
    turns = folds.rotation(labels, sources, stems, simulated, seed=recipe.seed)
    net = build(recipe.architecture, None if recipe.weights == "none" else recipe.weights, **recipe.options).fuse()
    trunk = Trunk.of(net, recipe.crop, recipe.served, items, tiers=recipe.tiers, count=recipe.crops)
    extractor = Extractor(trunk.model, threads)
    tiers = {
        tier: serving(items, extractor, tier, size=recipe.crop, count=recipe.crops, listener=listener)
        for tier in recipe.tiers
    }
    if recipe.variants:
        listener.begin(f"features of {recipe.variants} degraded crops", len(items))
        seen = variants(
            items, extractor, count=recipe.variants, size=recipe.crop, seed=recipe.seed, progress=listener.advance
        )
    else:
        seen = Seen.beside(list(tiers.values()))
    weights = source_weights(labels, sources, simulated, recipe.simulated, worth=label_weights(items))
    fit = head.Fitter(
        seen.features, labels, weights,
        shrinkage=recipe.shrinkage, clip=recipe.clip, steadiness=recipe.steadiness,
    )  # fmt: skip
    listener.begin("generators left out in turn", len(turns))
    scores = folds.out_of_fold(turns, {tier: found.features for tier, found in tiers.items()}, fit, listener.advance)
    apart = {tier: folds.together(found) for tier, found in scores.items()}
    calibrated = thresholds.calibrate(
        apart, labels, sources, simulated,
        false_positive_rate=recipe.false_positive_rate, false_negative_rate=recipe.false_negative_rate,
    )  # fmt: skip
    a, b = 1.0, 0.0
    if recipe.log_odds:
        a, b = recipe.log_odds * calibrated.a, recipe.log_odds * calibrated.b
        apart = {tier: a * logits + b for tier, logits in apart.items()}
        calibrated = calibrated.model_copy(update={"a": 1 / recipe.log_odds, "b": 0.0})
    metrics = _slices(apart, labels, sources, simulated, calibrated=calibrated, seed=recipe.seed)
    for tier, slices in metrics.items():
        slices.update(sourcewise.left_out(apart[tier], labels, sources, simulated, calibrated))
    if not simulated.all():
        baseline = folds.out_of_fold(
            turns, {tier: found.statistics for tier, found in tiers.items()},
            lambda out: Boosted(seen.statistics[~out], labels[~out], weights[~out]),
        )  # fmt: skip
        for tier, slices in metrics.items():
            for name, found in (("rotation", scores), ("rotation-11-statistics", baseline)):
                slices[name] = rotation.figures(turns, found[tier], labels, sources, seed=recipe.seed)
    fitted = fit().scaled(a, b)
    if tested:
        listener.say("scenes kept apart, family by family")
        for tier in recipe.tiers:
            told = sourcewise.scenes(tested, extractor, recipe, tier, fitted=fitted, calibrated=calibrated)
            metrics[tier].update(told)
        single = Extractor(trunk.model, threads=1)
        metrics[recipe.tiers[0]].update(sourcewise.more_crops(tested, extractor, single, recipe, fitted))
    listener.say("export")
    directions = head.principal_directions(fitted.standardise(seen.features[:, 0]), recipe.dimensions, net.parts)
    split = _SCENES_SPLIT if simulated.all() else _SPLIT
    data_used = TrainingData(sources=pictures.sources(archives, "train"), split=split, seed=recipe.seed)
    stated = finish.manifest(recipe, recipe.crop, data_used, metrics)
    text = card.write(stated, calibrated, recipe, command)
    return finish.write(
        out, stated, trunk=trunk, fitted=fitted, directions=directions, calibrated=calibrated, card=text,
        data=taken.dataset.manifest,
        kept=_replayed(fitted, tiers, apart, labels, sources, parts=net.widths, seed=recipe.seed),
    )  # fmt: skip


def _replayed(
    fitted: head.Head,
    tiers: dict[Tier, Seen],
    scores: dict[str, Logits],
    labels: Labels,
    sources: Sources,
    *,
    parts: Sequence[int],
    seed: int,
) -> bytes:
    """What adaptation keeps: every picture's features and out-of-fold logit in one delivery tier, drawn at random."""
    drawn = np.random.default_rng(seed).integers(len(tiers), size=len(labels))
    rows = np.empty((len(labels), len(fitted.centre)), np.float32)
    logits = np.empty(len(labels))
    for number, tier in enumerate(tiers):
        places = np.flatnonzero(drawn == number)
        rows[places] = fitted.standardise(tiers[tier].features[places].astype(np.float32)).mean(1)
        logits[places] = scores[tier][places]
    return replay.build(rows, logits, labels, sources, parts=parts, seed=seed)


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
