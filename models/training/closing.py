"""From trained weights to a bundle: features through the very graph that is shipped, calibration, figures, card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models import calibration
from models.adaptation import replay
from models.bundle import Bundle
from models.calibration import Calibration
from models.evaluation.delivery import Tier
from models.evaluation.pictures import Item
from models.manifest import TrainingData
from models.recipes import Finetune
from models.training import finetuned_card, finish, pictures, weights
from models.training.evaluate import Logits, measures
from models.training.features import Extractor, Features
from models.training.head import Head, principal_directions
from models.training.intake import Intake
from models.training.progress import Listener
from models.training.scoring import Scoring
from models.training.served import served
from models.training.shipped import Trunk
from models.training.state import State

_SAMPLED = 4096
_SMALLEST_DEVIATION = 1e-3
_SPLIT = (
    "{share:.0%} of the pictures were kept for validation: whole stems where they are named, else equal files. "
    "Validation pictures chose the weights (the average at the best of {count} validations), set the calibration and "
    "its thresholds, and gave the figures called `validation`."
)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a run leaves: weights, what was taken in, which items were kept for validation, and how it went.

    ``start`` is the digest of the bundle whose weights it went on from, if any.
    """

    net: Scoring
    intake: Intake
    kept: NDArray[np.bool_]
    state: State
    start: str | None


def close(
    trained: Trained,
    recipe: Finetune,
    out: Path,
    *,
    apart: Sequence[pictures.Archive],
    threads: int,
    command: str,
    listener: Listener,
) -> Bundle:
    """Makes and writes the bundle.

    Args:
        trained: What was trained.
        recipe: By what.
        out: The bundle's folder.
        apart: Pictures that are measured and nothing else.
        threads: Of ONNX Runtime.
        command: What the card gives as the way to make it again.
        listener: Is told what is going on.

    Raises:
        ModelError: A score is no number, or the scores rank the classes backwards.
        BundleInvalid: ``out`` is there already.
    """
    items = trained.intake.items
    chosen = [item for item, held in zip(items, trained.kept, strict=True) if not held]
    unfused = weights.pack(trained.net, recipe)
    trunk = Trunk.of(
        trained.net.backbone.fuse(), recipe.crop, recipe.served, chosen, tiers=recipe.tiers, count=recipe.crops
    )
    extractor = Extractor(trunk.model, threads)

    def features(items: Sequence[Item], tier: Tier, what: str) -> Features:
        listener.begin(f"{what}, {tier}", len(items))
        rows = []
        for cut in served(items, tier, recipe.crop, recipe.crops):
            rows.append(extractor(cut.reshape(-1, *cut.shape[2:])).reshape(len(cut), recipe.crops, -1))
            listener.advance(len(cut))
        return np.concatenate(rows)

    sample = [chosen[number] for number in np.unique(np.linspace(0, len(chosen) - 1, _SAMPLED).astype(int))]
    seen = features(sample, "clean", "training features").reshape(-1, trunk.net.width)
    fitted = restated(trained.net, seen, recipe.clip)
    held_out = [item for item, held in zip(items, trained.kept, strict=True) if held]
    rows = {tier: features(held_out, tier, "validation") for tier in recipe.tiers}
    logits = {tier: fitted.score(found).mean(1) for tier, found in rows.items()}
    labels = np.array([item.label for item in held_out], np.int64)
    calibrated = calibration.fit(
        np.concatenate(list(logits.values())), np.tile(labels, len(logits)),
        on=f"validation pictures, delivered {', '.join(recipe.tiers)}",
        false_positive_rate=recipe.false_positive_rate, false_negative_rate=recipe.false_negative_rate,
    )  # fmt: skip
    metrics: finish.Metrics = {
        tier: {"validation": _figures(found, held_out, calibrated, recipe)} for tier, found in logits.items()
    }
    used = pictures.sources(trained.intake.archives, "train", list(~trained.kept))
    used += pictures.sources(trained.intake.archives, "validation", list(trained.kept))
    if apart:
        tested = [item for archive in apart for item in archive.items]
        used += pictures.sources(apart, "test")
        for tier in recipe.tiers:
            found = fitted.score(features(tested, tier, "test")).mean(1)
            metrics[tier]["test"] = _figures(found, tested, calibrated, recipe)
    split = _SPLIT.format(share=recipe.validation, count=len(trained.state.history))
    stated = finish.manifest(
        recipe, recipe.crop, TrainingData(sources=used, split=split, seed=recipe.seed), metrics
    ).model_copy(update={"start": trained.start})  # fmt: skip
    card = finetuned_card.write(stated, calibrated, recipe, trained.state, command)
    directions = principal_directions(fitted.standardise(seen), recipe.dimensions, trunk.net.parts)
    return finish.write(
        out, stated, trunk=trunk, fitted=fitted, directions=directions, calibrated=calibrated, card=card,
        data=trained.intake.dataset.manifest,
        kept=replay.build(
            fitted.standardise(rows[recipe.tiers[0]]).mean(1), logits[recipe.tiers[0]], labels,
            np.array([item.source for item in held_out]), parts=trunk.net.widths, seed=recipe.seed,
        ),
        weights=unfused,
    )  # fmt: skip


def restated(net: Scoring, seen: Features, clip: float) -> Head:
    """The network's head over features standardised by what was seen, ``[N, width]``: the same logits but for clips."""
    centre = seen.mean(0, dtype=np.float64)
    scale = np.maximum(seen.std(0, dtype=np.float64), _SMALLEST_DEVIATION)
    with torch.no_grad():
        slope = (net.head.weight[0] / net.scale).double().numpy()
        bias = float(net.head.bias[0]) + float((centre - net.centre.double().numpy()) @ slope)
    return Head(
        centre.astype(np.float32), scale.astype(np.float32), clip, (slope * scale).astype(np.float32), bias
    )  # fmt: skip


def _figures(logits: Logits, items: Sequence[Item], calibrated: Calibration, recipe: Finetune) -> dict[str, float]:
    labels = np.array([item.label for item in items], np.int64)
    sources = np.array([item.source for item in items])
    return measures(logits, labels, sources, calibrated, seed=recipe.seed)
