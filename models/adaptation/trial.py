"""A lesson on trial: some pictures to learn from, the others of the same sources held out to be measured on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.bundle import Bundle
from models.classifier import Classifier
from models.decode import decode
from models.evaluation.measures import Figures, Scored, measure
from models.evaluation.pictures import Collection
from models.manifest import TrainingSource
from stream.errors import ConfigurationError, ImageError

Place = tuple[int, int]
_FIGURES = ("auc", "auc_pooled", "fpr", "fnr", "abstained", "ece")


def drawn(collections: Sequence[Collection], labels: int, *, seed: int) -> tuple[list[Collection], list[Collection]]:
    """Deals pictures into those to learn from and those held out.

    At most ``labels`` are to learn from, as many of either class as there are to be had, but at most half of each
    class; every source gives its share, and files of one stem stay together.

    Args:
        collections: Labelled pictures of both classes.
        labels: How many to learn from at most.
        seed: Decides the draw.

    Raises:
        ConfigurationError: A class has too few pictures to learn from and to hold out.
    """
    rng = np.random.default_rng(seed)
    chosen: set[Place] = set()
    for label in (1, 0):
        queue = _queue(collections, label, rng)
        size = sum(len(group) for group in queue)
        # what the machine-made pictures could not use is not given to the others: the classes stay balanced
        quota, taken = min(labels // 2, size // 2), 0
        for group in queue:
            if taken + len(group) <= quota:
                chosen.update(group)
                taken += len(group)
        if taken < 2:  # noqa: PLR2004 - one to learn from, one to check on
            name = "machine-made" if label else "authentic"
            raise ConfigurationError(f"{size} {name} pictures are too few to learn from some and hold out the others")
    return _part(collections, chosen, inside=True), _part(collections, chosen, inside=False)


def written(collections: Sequence[Collection]) -> tuple[TrainingSource, ...]:
    """What the manifest says of pictures that were learned."""
    counts: dict[str, int] = defaultdict(int)
    for collection in collections:
        for entry in collection.entries:
            counts[entry.source] += 1
    return tuple(
        TrainingSource(
            name=source,
            label="ai_generated" if source.startswith("fake/") else "authentic",
            used_for="train",
            pictures=count,
        )
        for source, count in sorted(counts.items())
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The same pictures scored by two bundles."""

    before: Scored
    after: Scored

    def figures(self, parent: Bundle, child: Bundle, *, seed: int) -> Figures:
        """Each figure by each bundle, ``auc_before`` and ``auc_after`` and so on, with intervals; see `measure`."""
        found: Figures = {"n": len(self.before)}
        for name, scored, bundle in (("before", self.before, parent), ("after", self.after, child)):
            measured = measure(scored, bundle.calibration.thresholds, seed=seed)
            for figure in _FIGURES:
                found[f"{figure}_{name}"] = measured[figure]
                found[f"{figure}_{name}_ci95"] = measured[f"{figure}_ci95"]
        return found


def compared(parent: Bundle, child: Bundle, collections: Sequence[Collection], *, threads: int = 2) -> Comparison:
    """Scores pictures as they are with both bundles; those that cannot be decoded are left out."""
    classifiers = [Classifier.load(bundle, provider="cpu", threads=threads) for bundle in (parent, child)]
    scores: tuple[list[float], list[float]] = ([], [])
    labels, sources = [], []
    for collection in collections:
        for item in collection.items():
            try:
                picture = decode(item.data)
            except ImageError:
                continue
            for classifier, found in zip(classifiers, scores, strict=True):
                found.append(classifier.predict([classifier.prepare(picture)])[0].p_ai)
            labels.append(item.label)
            sources.append(item.source)
    before, after = (Scored(np.array(found), np.array(labels, np.int64), np.array(sources)) for found in scores)
    return Comparison(before, after)


def _queue(collections: Sequence[Collection], label: int, rng: np.random.Generator) -> list[list[Place]]:
    """A class's stems, shuffled within sources and then merged so that every prefix holds each source's share."""
    groups: dict[str, dict[str, list[Place]]] = defaultdict(lambda: defaultdict(list))
    for number, collection in enumerate(collections):
        for place, entry in enumerate(collection.entries):
            if entry.label == label:
                stem = collection.facts.get(entry.path, {}).get("stem") or entry.path
                groups[entry.source][stem].append((number, place))
    ranked = []
    for source, stems in sorted(groups.items()):
        order = rng.permutation(len(stems))
        members = sorted(stems.items())
        ranked += [((rank + 0.5) / len(order), source, members[index][1]) for rank, index in enumerate(order)]
    return [group for _, _, group in sorted(ranked, key=lambda entry: entry[:2])]


def _part(collections: Sequence[Collection], chosen: set[Place], *, inside: bool) -> list[Collection]:
    parts = [
        replace(
            collection,
            entries=tuple(
                entry for place, entry in enumerate(collection.entries) if ((number, place) in chosen) == inside
            ),
        )
        for number, collection in enumerate(collections)
    ]
    return [part for part in parts if part.entries]
