"""How every training ends: one graph, its calibration, its card, one bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from models.bundle import Bundle
from models.calibration import Calibration
from models.dataset.manifest import DataManifest
from models.manifest import CALIBRATION, CARD, DATA, MODEL, REPLAY, WEIGHTS, InputSpec, Manifest, TrainingData
from models.recipes import Common
from models.training.features import Features
from models.training.head import Head
from models.training.shipped import Trunk

Metrics = dict[str, dict[str, dict[str, float]]]


def manifest(recipe: Common, crop: int, data: TrainingData, metrics: Metrics) -> Manifest:
    """What the bundle will say of itself."""
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        created=datetime.now(UTC),
        input=InputSpec(size=crop, crops=recipe.crops),
        precision=recipe.served,
        training_data=data,
        metrics=metrics,
    )


def write(
    out: Path,
    stated: Manifest,
    *,
    trunk: Trunk,
    fitted: Head,
    directions: Features,
    calibrated: Calibration,
    card: str,
    data: DataManifest,
    kept: bytes,
    weights: bytes | None = None,
) -> Bundle:
    """Exports the detector and writes the bundle, whole or not at all.

    Args:
        out: The bundle's folder.
        stated: Its manifest.
        trunk: As it ships.
        fitted: The linear head over the trunk's features.
        directions: Of the embedding, ``[width, D]``.
        calibrated: From logits to probabilities.
        card: Markdown.
        data: The manifest of the data.
        kept: What adaptation keeps of it (`models.adaptation.replay`).
        weights: What training can go on from (`models.training.weights`), where there is such a thing.

    Raises:
        BundleInvalid: ``out`` is there already, or the bundle would be refused when opened.
    """
    files = {
        MODEL: trunk.detector(fitted, directions),
        CALIBRATION: calibrated.to_json(),
        CARD: card.encode(),
        DATA: data.to_bytes(),
        REPLAY: kept,
    }
    if weights is not None:
        files[WEIGHTS] = weights
    return Bundle.write(out, stated, files)
