"""Learning by adaptation: features through ONNX Runtime, a new head and calibration, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.adaptation import examples, run, trial
from models.bundle import Bundle
from models.evaluation.measures import balanced_auc
from models.evaluation.pictures import index
from retrain.manifest import DatasetManifest

_DIGITS = 4


def adapt(parent: Bundle, manifest: DatasetManifest, learn: Path) -> tuple[Bundle, dict[str, float]]:
    """Teaches the parent the zip ``learn``; equal manifest, parent and pictures give an equal bundle.

    Raises:
        BundleInvalid: The parent cannot be adapted.
        ConfigurationError: The pictures cannot be used.
        ModelError: The model fails on a picture, or ranks the classes backwards after the lesson.
    """
    run.check(parent)
    collections = index([learn])
    shown = examples.from_pictures(collections, parent, threads=manifest.threads)
    lesson = run.adapt(
        parent, shown, seed=manifest.seed, taught=trial.written(collections), now=manifest.created
    )  # fmt: skip
    learned = lesson.learned
    figures = {
        "emphasis": learned.emphasis,
        "auc_out_of_fold_before": learned.auc_shown[0],
        "auc_out_of_fold": learned.auc_shown[1],
        "auc_replay_before": learned.auc[0],
        "auc_replay": learned.auc[1],
    }
    return lesson.bundle, {name: round(value, _DIGITS) for name, value in figures.items()}


def compared(parent: Bundle, child: Bundle, held_out: Path, *, threads: int) -> dict[str, float]:
    """How both rank the pictures that neither has seen: source-balanced AUC, and how many those were."""
    found = trial.compared(parent, child, index([held_out]), threads=threads)
    figures = {"slice_pictures": float(len(found.before))}
    for name, scored in (("auc_slice_before", found.before), ("auc_slice", found.after)):
        auc = balanced_auc(scored.p, scored.labels, scored.sources)
        if np.isfinite(auc):
            figures[name] = round(auc, _DIGITS)
    return figures
