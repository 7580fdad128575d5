"""How well adaptation goes, measured on what is known: every generator left out in turn, then learned from labels.

For each generator a head is fitted without it and without two sources of authentic pictures; then some of what was left
out is labelled and learned, and the rest is measured. A fifth of all other stems is the golden set, which no head
sees.
The features are those of the bundle's own network on the directions of its replay; both, and the embedding's
directions, were chosen with everything in sight, but no label of what is left out enters a head.
"""

from __future__ import annotations

import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.adaptation import replay, run
from models.adaptation.examples import Advance, from_pictures
from models.adaptation.learning import Known, Learned, Shown, learn
from models.adaptation.units import Floats, Labels, Names
from models.bundle import Bundle
from models.dataset.weights import source_weights
from models.evaluation.measures import balanced_auc
from models.evaluation.pictures import Collection
from stream.errors import ConfigurationError

COLUMNS = ("before", "after", "after_embeddings", "golden_before", "golden_after")
_GOLDEN, _STRENGTH, _FOLDS, _FEWEST = 5, 3e-3, 3, 3
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """All pictures: ``x [n, tiers, K]`` on the replay's directions, ``labels``, ``sources``, ``stems``, each ``[n]``.

    ``to_embedding [K, D]`` leads from those to the embedding and ``room`` is how many rows a replay of them holds.
    """

    x: Floats
    labels: Labels
    sources: Names
    stems: Names
    to_embedding: Floats
    room: int

    @property
    def generators(self) -> list[str]:
        """Sources of machine-made pictures."""
        return [str(name) for name in np.unique(self.sources[self.labels == 1])]


def pool(
    bundle: Bundle,
    collections: Sequence[Collection],
    *,
    kept: Path | None = None,
    threads: int = 2,
    advance: Advance = lambda step: None,
) -> Pool:
    """Features of all pictures, minutes for thousands; ``kept`` names a file that holds them between runs.

    Raises:
        ConfigurationError: The pictures cannot be used, or ``kept`` holds another bundle's features or pictures.
    """
    head, memory = run.check(bundle)
    stems = np.array([
        f"{entry.source}/{part.facts.get(entry.path, {}).get('stem') or entry.path}"
        for part in collections
        for entry in part.entries
    ])  # fmt: skip
    if kept is not None and kept.exists():
        x, labels, sources = _opened(kept, bundle.digest, len(stems))
        advance(len(stems))
    else:
        examples = from_pictures(collections, bundle, threads=threads, advance=advance)
        if examples.unreadable:
            raise ConfigurationError(f"{examples.unreadable} pictures cannot be decoded", remedy="Take them out.")
        x, labels, sources = examples.views @ memory.basis, examples.labels, examples.sources
        if kept is not None:
            np.savez(kept, x=x.astype(np.float32), labels=labels, sources=sources, digest=np.array(bundle.digest))
    room = replay.room(*memory.basis.shape)
    return Pool(x.astype(np.float64), labels, sources, stems, memory.towards(head.projection), room)


def rotate(pool: Pool, *, labels: int = 200, seed: int = 0, advance: Advance = lambda step: None) -> dict[str, Any]:
    """The rotation.

    Returns:
        ``generators``: for each AUC on the held-out part before and after, from embeddings, the golden set's
        (source-balanced) before and after, labels used and seconds; and the ``mean`` of all.

    Raises:
        ConfigurationError: There are too few sources.
    """
    golden = np.array([zlib.crc32(f"{seed}/{stem}".encode()) % _GOLDEN == 0 for stem in pool.stems])
    reals = [str(name) for name in np.unique(pool.sources[pool.labels == 0])]
    if len(reals) < _FEWEST or len(pool.generators) < _FEWEST - 1:
        remedy = f"A rotation needs {_FEWEST} sources of authentic pictures and {_FEWEST - 1} generators."
        raise ConfigurationError("there are too few sources to leave some out", remedy=remedy)
    rows: dict[str, dict[str, float]] = {}
    for number, generator in enumerate(pool.generators):
        pair = (reals[number % len(reals)], reals[(number + len(reals) // 2) % len(reals)])
        out = np.isin(pool.sources, [generator, *pair])
        rows[generator] = _turn(pool, out, golden & ~out, labels, np.random.default_rng([seed, number]))
        advance(1)
    mean = {key: float(np.mean([row[key] for row in rows.values()])) for key in next(iter(rows.values()))}
    return {"generators": rows, "mean": mean, "labels": labels, "seed": seed}


def _turn(pool: Pool, out: Mask, golden: Mask, labels: int, rng: np.random.Generator) -> dict[str, float]:
    known = np.flatnonzero(~out & ~golden)
    head = _head(pool, known)
    logits = pool.x @ head[:-1] + head[-1]
    fold = np.array([zlib.crc32(stem.encode()[::-1]) % _FOLDS for stem in pool.stems[known]])
    unseen = np.empty((len(known), pool.x.shape[1]))
    for part in range(_FOLDS):
        fitted = _head(pool, known[fold != part], head)
        unseen[fold == part] = pool.x[known[fold == part]] @ fitted[:-1] + fitted[-1]
    taught = np.concatenate([_drawn(pool, out & (pool.labels == label), labels // 2, rng) for label in (1, 0)])
    held = np.setdiff1d(np.flatnonzero(out), taught)
    rows = rng.permutation(len(known))[: pool.room]
    tier = rng.integers(pool.x.shape[1], size=len(rows))
    started = time.perf_counter()
    found: dict[str, float] = {"before": _auc(pool, held, logits)}
    for name, directions in (("after", np.eye(pool.x.shape[2])), ("after_embeddings", pool.to_embedding)):
        x = pool.x @ directions
        learned = _learned(pool, x, known[rows], tier, unseen=unseen[rows, tier], taught=taught, logits=logits)
        after = logits + learned.units.change(x)
        found[name] = _auc(pool, held, after)
        if name == "after":
            found["seconds"] = time.perf_counter() - started
            found["golden_before"] = _auc(pool, np.flatnonzero(golden), logits)
            found["golden_after"] = _auc(pool, np.flatnonzero(golden), after)
            found["emphasis"] = learned.emphasis
    return {**found, "labels": float(len(taught)), "held": float(len(held))}


def _learned(
    pool: Pool, x: Floats, known: Labels, tier: Labels, *, unseen: Floats, taught: Labels, logits: Floats
) -> Learned:
    old = Known(x[known, tier], unseen, pool.labels[known], pool.sources[known])
    return learn(old, Shown(x[taught], logits[taught], pool.labels[taught]), seed=0)


def _head(pool: Pool, chosen: Labels, start: Floats | None = None) -> Floats:
    """Logistic regression on every tier of the chosen pictures, weighted as in training: ``[K + 1]``."""
    tiers, width = pool.x.shape[1:]
    rows = np.concatenate([pool.x[chosen].reshape(-1, width), np.ones((len(chosen) * tiers, 1))], 1).astype(np.float32)
    labels = np.repeat(pool.labels[chosen], tiers)
    weights = np.repeat(source_weights(pool.labels[chosen], pool.sources[chosen]), tiers)
    penalty = np.append(np.full(width, 1 / _STRENGTH), 0.0)

    def loss(w: Floats) -> tuple[float, Floats]:
        z = (rows @ w.astype(np.float32)).astype(np.float64)
        error = weights * (np.exp(-np.logaddexp(0, -z)) - labels)
        value = (weights * (np.logaddexp(0, z) - labels * z)).sum() + (penalty * w * w).sum() / 2
        return float(value), error.astype(np.float32) @ rows + penalty * w

    first = np.zeros(width + 1) if start is None else start
    return np.asarray(minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x, np.float64)


def _drawn(pool: Pool, among: Mask, most: int, rng: np.random.Generator) -> Labels:
    """At most half of the marked pictures and at most ``most``, by whole stems."""
    quota = min(most, int(among.sum()) // 2)
    taken: list[int] = []
    for stem in rng.permutation(np.unique(pool.stems[among])):
        group = np.flatnonzero(among & (pool.stems == stem))
        if len(taken) + len(group) <= quota:
            taken.extend(group.tolist())
    return np.array(taken, np.int64)


def _auc(pool: Pool, chosen: Labels, logits: Floats) -> float:
    """Source-balanced AUC as served clean."""
    return balanced_auc(logits[chosen, 0], pool.labels[chosen], pool.sources[chosen])


def _opened(path: Path, digest: str, count: int) -> tuple[Floats, Labels, Names]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            x, labels, sources = arrays["x"], arrays["labels"], arrays["sources"]
            same = str(arrays["digest"]) == digest and len(labels) == count
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"the features cannot be read: {error}", where=str(path)) from error
    if not same:
        raise ConfigurationError("the features are of another bundle or of other pictures", where=str(path))
    return x, labels, sources
