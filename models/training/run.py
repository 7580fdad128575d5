"""One training run, from zips to a bundle: the order of things, and nothing else.

Frozen features of degraded crops, a head out of fold (for the figures and the calibration), a head on everything (to
ship), one ONNX graph. Equal recipe, data and thread count give an equal bundle but for its date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from models import calibration
from models.adaptation import replay
from models.bundle import Bundle
from models.crops import crops
from models.decode import decode
from models.evaluation.delivery import TIERS, Tier, delivered
from models.evaluation.pictures import Item
from models.manifest import CALIBRATION, CARD, MODEL, REPLAY, InputSpec, Manifest, TrainingData, TrainingSource
from models.networks.detector import Detector
from models.networks.efficientnet_lite import pretrained
from models.recipes import Recipe
from models.training import card, folds, head, pictures
from models.training.evaluate import Labels, Logits, Sources, measures
from models.training.features import Extractor, Features, variants
from models.training.onnxexport import to_onnx

SIMULATED_SOURCE = "real/simulated-camera"
_SPLIT = (
    "Figures and calibration are out of fold: of the photographs' archives whole sources are left out together, one "
    "fold of real and machine-made sources at a time; simulated scenes are left out by stem. The shipped head saw all."
)
_CHUNK = 48

Report = Callable[[str], None]


def train(
    data: Sequence[Path],
    out: Path,
    recipe: Recipe,
    *,
    test: Path | None = None,
    threads: int = 2,
    report: Report = lambda line: None,
) -> Bundle:
    """Train a bundle.

    Args:
        data: Zips in ImageFolder layout. One that holds `SIMULATED_SOURCE` counts as simulated scenes.
        out: The bundle's folder, which must not exist yet.
        recipe: The run.
        test: A zip of scenes measured apart with the shipped head, family by family; nothing is fitted on it.
        threads: Of ONNX Runtime.
        report: Is told what is going on.

    Returns:
        The bundle written to ``out``.

    Raises:
        ConfigurationError: the pictures cannot be used.
        BundleInvalid: ``out`` is there already.
    """
    archives = pictures.read(data)
    items = [item for archive in archives for item in archive.items]
    labels = np.array([item.label for item in items], np.int64)
    sources = np.array([item.source for item in items])
    simulated = np.concatenate([
        np.full(len(archive.items), any(item.source == SIMULATED_SOURCE for item in archive.items))
        for archive in archives
    ])  # fmt: skip
    trunk = pretrained(recipe.blocks)
    extractor = Extractor(trunk, recipe.crop, threads)
    report(f"features of {len(items)} pictures, {recipe.variants} degraded crops each")
    features = variants(items, extractor, count=recipe.variants, size=recipe.crop, seed=recipe.seed)
    report("features as they are served, three delivery tiers")
    tiers: dict[str, Features] = {tier: serving(items, extractor, recipe, tier) for tier in TIERS}

    def fit(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> head.Head:
        return head.fit(
            features[chosen], labels[chosen], sources[chosen], strength=recipe.strength, clip=recipe.clip
        )  # fmt: skip

    report(f"{recipe.folds} folds, whole sources left out")
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
    if test is not None:
        report("scenes kept apart, family by family")
        _families(metrics, pictures.read([test])[0].items, extractor, recipe, fitted=fitted, calibrated=calibrated)
    report("export")
    directions = head.principal_directions(fitted.standardise(features[:, 0]), recipe.dimensions)
    net = Detector(
        trunk,
        centre=torch.from_numpy(fitted.centre),
        scale=torch.from_numpy(fitted.scale),
        clip=fitted.clip,
        weight=torch.from_numpy(fitted.weight),
        bias=fitted.bias,
        projection=torch.from_numpy(directions),
    ).eval()
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        created=datetime.now(UTC),
        input=InputSpec(size=recipe.crop, crops=recipe.crops),
        training_data=TrainingData(sources=_sources(archives), split=_SPLIT, seed=recipe.seed),
        metrics=metrics,
    )
    files = {
        MODEL: to_onnx(net, recipe.crop, net.outputs),
        REPLAY: _replayed(fitted, tiers, scores, labels, sources, seed=recipe.seed),
        CALIBRATION: calibrated.to_json(),
        CARD: card.write(manifest, calibrated, recipe).encode(),
    }
    return Bundle.write(out, manifest, files)


def serving(items: Sequence[Item], extractor: Extractor, recipe: Recipe, tier: Tier) -> Features:
    """Features of the crops a worker would cut, after delivery: float32 ``[N, crops, width]``."""
    rows = []
    for start in range(0, len(items), _CHUNK):
        cut = [
            crops(delivered(decode(item.data), tier).pixels, recipe.crop, recipe.crops)
            for item in items[start : start + _CHUNK]
        ]
        rows.append(extractor(np.concatenate(cut)).reshape(len(cut), recipe.crops, -1))
    return np.concatenate(rows)


def _replayed(
    fitted: head.Head,
    tiers: dict[str, Features],
    scores: dict[str, Logits],
    labels: Labels,
    sources: Sources,
    *,
    seed: int,
) -> bytes:
    """What adaptation keeps: every picture's features and out-of-fold logit in one delivery tier, drawn at random."""
    drawn = np.random.default_rng(seed).integers(len(TIERS), size=len(labels))
    places = np.arange(len(labels))
    features = np.stack([tiers[tier] for tier in TIERS])[drawn, places]
    logits = np.stack([scores[tier] for tier in TIERS])[drawn, places]
    return replay.build(fitted.standardise(features).mean(1), logits, labels, sources, seed=seed)


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
    recipe: Recipe,
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


def _sources(archives: Sequence[pictures.Archive]) -> tuple[TrainingSource, ...]:
    found = []
    for archive in archives:
        for source in sorted({item.source for item in archive.items}):
            label = "ai_generated" if source.startswith("fake/") else "authentic"
            count = sum(item.source == source for item in archive.items)
            found.append(
                TrainingSource(name=source, label=label, used_for="train", pictures=count, sha256=archive.sha256)
            )  # fmt: skip
    return tuple(found)
