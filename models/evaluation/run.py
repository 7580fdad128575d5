"""One evaluation: from a bundle and labelled pictures to everything that is said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.bundle import Bundle
from models.calibration import Thresholds
from models.classifier import Classifier
from models.evaluation.delivery import TIERS, Tier
from models.evaluation.measures import Figures, Scored, measure, real_vs_real, shares
from models.evaluation.pictures import Collection
from models.evaluation.scoring import Advance, Scores, score
from models.evaluation.slices import DIMENSIONS
from models.evaluation.transforms import FAILURE_MODES, METAMORPHIC

_EVEN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """``figures`` is what the JSON holds; ``tiers`` the scored pictures behind its curves."""

    figures: dict[str, Any]
    tiers: dict[Tier, Scored]


def evaluate(
    bundle: Bundle,
    collections: Sequence[Collection],
    *,
    tiers: Sequence[Tier] = TIERS,
    seed: int = 0,
    tests: bool = True,
    threads: int = 1,
    advance: Advance = lambda step: None,
) -> Evaluation:
    """Evaluates a bundle. Equal bundle, pictures and seed give equal figures on one machine.

    What the figures are called and mean is in the package's docstring, `models.evaluation`.

    Args:
        bundle: A checked bundle.
        collections: The pictures, of both classes.
        tiers: Delivery tiers to report.
        seed: Of every bootstrap.
        tests: Whether to run the metamorphic tests and failure modes as well.
        threads: That decode, transform and score.
        advance: Is told after every picture.

    Raises:
        ConfigurationError: The pictures cannot be used.
        BundleInvalid: The model cannot be run.
        InferenceFailed: The model fails on a picture, or its score is no number.
    """
    classifier = Classifier.load(bundle)
    scores = score(collections, classifier, tiers, tests=tests, threads=threads, advance=advance)
    thresholds = bundle.calibration.thresholds
    clean = _tier(scores, "clean", thresholds, seed)
    control = real_vs_real(scores.scored("clean"), seed=seed)
    above, below = thresholds.ai_above.value, thresholds.authentic_below.value
    metamorphic = _metamorphic(scores, thresholds, seed) if tests else {}
    flips = metamorphic.get("any", {"reversed": None, "reversed_ci95": None})
    figures: dict[str, Any] = {
        "bundle": {
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "digest": bundle.digest,
            "provider": classifier.provider,
            "precision": classifier.precision,
            "thresholds": {"ai_above": above, "authentic_below": below},
        },
        "data": [{"name": part.path.name, "pictures": len(part.entries)} for part in collections],
        "seed": seed,
        "n": len(scores.labels),
        "n_real": int((scores.labels == 0).sum()),
        "n_fake": int((scores.labels == 1).sum()),
        "unreadable": dict(scores.unreadable),
        "tiers": {tier: clean if tier == "clean" else _tier(scores, tier, thresholds, seed) for tier in tiers},
        "slices": clean["slices"],
        "ece": clean["ece"],
        "ece_ci95": clean["ece_ci95"],
        "flip_rate": flips["reversed"],
        "flip_rate_ci95": flips["reversed_ci95"],
        "metamorphic": metamorphic,
        "failure_modes": _failure_modes(scores, thresholds, seed) if tests else {},
        "real_vs_real": control.pop("real_vs_real"),
        "real_vs_real_ci95": control.pop("real_vs_real_ci95"),
        "real_vs_real_detail": control,
    }
    return Evaluation(figures, {tier: scores.scored(tier) for tier in tiers})


def _tier(scores: Scores, tier: Tier, thresholds: Thresholds, seed: int) -> dict[str, Any]:
    scored = scores.scored(tier)
    parts: dict[str, dict[str, Figures]] = {}
    for dimension in DIMENSIONS:
        places = np.array([part.get(dimension, "") for part in scores.slices])
        parts[dimension] = {}
        for name in np.unique(places[places != ""]):
            chosen = places == name
            found = measure(scored, thresholds, seed=seed, chosen=chosen)
            both = len(set(scores.labels[chosen])) > 1
            parts[dimension][str(name)] = {**found, "auc_against": "slice" if both else "all"}
    return {**measure(scored, thresholds, seed=seed), "worst_source": _worst(parts["source"]), "slices": parts}


def _worst(sources: Mapping[str, Figures]) -> dict[str, Any]:
    """The source that loses the largest share of its authentic pictures to `ai_generated`."""
    reals = {name: found for name, found in sources.items() if found["n_real"]}
    name = max(reals, key=lambda name: reals[name]["fpr"])
    return {"name": name, "n_real": reals[name]["n_real"], **{key: reals[name][key] for key in ("fpr", "fpr_ci95")}}


def _metamorphic(scores: Scores, thresholds: Thresholds, seed: int) -> dict[str, dict[str, Any]]:
    """For each test, and for ``any`` of them, the shares of pictures whose verdict or score moves.

    ``reversed``: from `ai_generated` to `authentic` or back; ``changed``: to any other verdict, `uncertain` included;
    ``crossed``: over even odds, whatever the verdict.
    """
    names = tuple(METAMORPHIC)
    before = _side(scores.p["clean"], thresholds)
    after = np.stack([_side(scores.p[name], thresholds) for name in names])
    even = np.stack([(scores.p[name] >= _EVEN) != (scores.p["clean"] >= _EVEN) for name in names])
    moves = {"reversed": after * before == -1, "changed": after != before, "crossed": even}
    found: dict[str, dict[str, Any]] = {}
    for place, test in enumerate((*names, "any")):
        found[test] = {}
        for kind, table in moves.items():
            moved = table.any(0) if test == "any" else table[place]
            value, ends = shares(moved, scores.labels, scores.sources, seed=seed)
            found[test] |= {kind: value, f"{kind}_ci95": ends}
    return found


def _side(p: np.ndarray[Any, np.dtype[np.float64]], thresholds: Thresholds) -> np.ndarray[Any, np.dtype[np.int64]]:
    """1 for `ai_generated`, -1 for `authentic`, 0 for `uncertain`."""
    return (p > thresholds.ai_above.value).astype(np.int64) - (p < thresholds.authentic_below.value)


def _failure_modes(scores: Scores, thresholds: Thresholds, seed: int) -> dict[str, dict[str, Any]]:
    """Authentic pictures as they are, after each failure mode, and as they are in each collection of nothing else.

    Of each: the share called `ai_generated`, and the share abstained. A collection that holds authentic pictures only,
    beside others that do not, is kept apart by whoever made it: human-made art, say, or screenshots.
    """
    real = scores.labels == 0
    shown = {"unchanged": ("clean", real), **{name: (name, real) for name in FAILURE_MODES}}
    places = np.array([part["collection"] for part in scores.slices])
    authentic = set(places) - set(places[~real])
    shown |= {str(place): ("clean", places == place) for place in sorted(authentic)}
    found = {}
    for name, (version, chosen) in shown.items():
        side = _side(scores.p[version][chosen], thresholds)
        labels, sources = scores.labels[chosen], scores.sources[chosen]
        fpr, fpr_ends = shares(side == 1, labels, sources, seed=seed)
        abstained, abstained_ends = shares(side == 0, labels, sources, seed=seed)
        found[name] = {
            "fpr": fpr, "fpr_ci95": fpr_ends, "abstained": abstained, "abstained_ci95": abstained_ends,
            "n": int(chosen.sum()),
        }  # fmt: skip
    return found
