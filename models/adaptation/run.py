"""One lesson: a bundle and labelled pictures in, a bundle that has learned them out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from models import calibration
from models.adaptation import card, graph, replay
from models.adaptation.examples import Examples
from models.adaptation.learning import Known, Learned, Shown, learn
from models.adaptation.replay import Replay
from models.adaptation.units import Floats
from models.bundle import Bundle
from models.calibration import Calibration
from models.manifest import CALIBRATION, CARD, MODEL, REFERENCE, REPLAY, TrainingSource
from stream.errors import ConfigurationError

_GENERATION = re.compile(r"^(.*)\+a(\d+)$")


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """The adapted ``bundle``, in memory, and what was ``learned``."""

    bundle: Bundle
    learned: Learned


def check(bundle: Bundle) -> tuple[graph.LinearHead, Replay]:
    """Says before the work whether a bundle can be adapted at all.

    Raises:
        BundleInvalid: Its graph has no head that can be replaced, or it keeps no replay, or the two do not fit.
    """
    head, kept = graph.read(bundle.model, where=bundle.digest), replay.read(bundle)
    if len(kept.basis) != head.width:
        what = f"the replay is of {len(kept.basis)} features and the model's head of {head.width}"
        raise graph.unfit(what, where=bundle.digest)
    return head, kept


def adapt(
    bundle: Bundle,
    examples: Examples,
    *,
    seed: int = 0,
    taught: Sequence[TrainingSource] = (),
    now: datetime | None = None,
) -> Lesson:
    """Teaches a bundle labelled pictures.

    Args:
        bundle: The parent; never changed.
        examples: `models.adaptation.examples.from_pictures`, or `from_embeddings` where the pictures are gone.
        seed: Of the folds and of what the replay keeps.
        taught: What is written about the pictures in the manifest.
        now: Date of the new bundle; the clock's if left out. All else is equal where the input is.

    Raises:
        BundleInvalid: The bundle cannot be adapted.
        ConfigurationError: The examples are neither the bundle's features nor its embeddings.
        ModelError: After the lesson the scores rank the classes backwards.
    """
    head, kept = check(bundle)
    stored = examples.views.shape[2] == head.projection.shape[1] != head.width
    directions = head.projection if stored else kept.basis
    if not stored and examples.views.shape[2] != head.width:
        raise ConfigurationError(f"the examples have {examples.views.shape[2]} features, the model {head.width}")
    known_x = kept.rows @ kept.towards(head.projection) if stored else kept.rows
    views = examples.views if stored else examples.views @ kept.basis
    learned = learn(
        Known(known_x, kept.logits, kept.labels, kept.sources),
        Shown(views, examples.logits, examples.labels, examples.weights),
        seed=seed,
    )
    slopes = learned.units.slopes @ directions.T
    # The scores change, so what drift compares them with does not hold any more.
    files = {name: data for name, data in bundle.files.items() if name in bundle.manifest.files and name != REFERENCE}
    fitted = _calibrated(bundle.calibration, learned, kept, examples)
    sources = (*bundle.manifest.training_data.sources, *taught)
    manifest = bundle.manifest.model_copy(
        update={
            "version": _next(bundle.manifest.version),
            "created": now or datetime.now(UTC),
            "parent": bundle.digest,
            "training_data": bundle.manifest.training_data.model_copy(update={"sources": sources}),
            "metrics": {**bundle.manifest.metrics, "out-of-fold": _figures(learned, examples)},
        }
    )
    files[MODEL] = graph.taught(bundle.model, slopes, learned.units.constants, where=bundle.digest)
    files[CALIBRATION] = fitted.to_json()
    files[REPLAY] = _remembered(kept, learned, examples, head, stored=stored, seed=seed).to_bytes()
    files[CARD] = card.extended(bundle, manifest, fitted, learned, examples, stored=stored)
    return Lesson(Bundle.build(manifest, files), learned)


def _calibrated(old: Calibration, learned: Learned, kept: Replay, examples: Examples) -> Calibration:
    """Platt's numbers and thresholds on scores out of fold, at the rates that the parent's thresholds were set at."""
    picture = np.arange(len(examples.labels))
    shown = learned.shown[picture, picture % learned.shown.shape[1]]
    return calibration.fit(
        np.concatenate([learned.known, shown]),
        np.concatenate([kept.labels, examples.labels]),
        on=f"{len(kept.labels)} replayed and {len(shown)} newly labelled pictures, out of fold",
        false_positive_rate=round(old.thresholds.ai_above.rate, 4),
        false_negative_rate=round(old.thresholds.authentic_below.rate, 4),
        weights=None if examples.weights is None else _worth(len(kept.labels), examples.weights),
    )


def _worth(known: int, weights: Floats) -> Floats:
    """What counts in Platt's fit: every replayed picture 1, the labelled ones 1 in the mean."""
    return np.concatenate([np.ones(known), weights / weights.mean()])


def _remembered(
    kept: Replay, learned: Learned, examples: Examples, head: graph.LinearHead, *, stored: bool, seed: int
) -> Replay:
    """The replay of the next lesson: the old rows and the new, with the logits that this lesson gives them unseen."""
    picture = np.arange(len(examples.labels))
    view = picture % examples.views.shape[1]
    points = examples.views[picture, view]
    rows: Floats = _imagined(points, kept, head) if stored else points @ kept.basis
    known = Replay(kept.basis, kept.rows, learned.known, kept.labels, kept.sources)
    return known.with_more(rows, learned.shown[picture, view], examples.labels, examples.sources, seed=seed)


def _imagined(embeddings: Floats, kept: Replay, head: graph.LinearHead) -> Floats:
    """The likeliest rows behind embeddings: linear regression over the replay."""
    to_embedding = kept.towards(head.projection)
    centre = kept.rows.mean(0)
    known = (kept.rows - centre) @ to_embedding
    back, *_ = np.linalg.lstsq(known, kept.rows - centre, rcond=1e-6)
    found: Floats = centre + (embeddings - centre @ to_embedding) @ back
    return found


def _figures(learned: Learned, examples: Examples) -> dict[str, dict[str, float]]:
    parts = {"newly-labelled": (learned.auc_shown, len(examples.labels)), "replay": (learned.auc, len(learned.known))}
    return {
        name: {"auc_before": round(before, 4), "auc": round(after, 4), "pictures": float(count)}
        for name, ((before, after), count) in parts.items()
    }


def lessons(bundle: Bundle) -> int:
    """How often a bundle was adapted since its network was trained."""
    found = _GENERATION.match(bundle.manifest.version)
    return int(found[2]) if found else 0


def _next(version: str) -> str:
    found = _GENERATION.match(version)
    return f"{found[1]}+a{int(found[2]) + 1}" if found else f"{version}+a1"
