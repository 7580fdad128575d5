"""The check before every training run: read, sort out, probe, and say what the data are.

dataset = check(index(paths), Policy(), delivered=partial(variants.encoded, size=recipe.crop))
dataset.refuse()              # ConfigurationError where training must not go on
for item in dataset.items(): ...   # labels, sources and groups are arrays in the same order
files[DATA] = dataset.manifest.to_bytes()
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.dataset import listing
from models.dataset.manifest import DataManifest, Finding, Left, Source, root
from models.dataset.policy import Policy, Reason
from models.dataset.probing import Delivered, probes
from models.dataset.report import Report, judge
from models.dataset.sorting import Dropped, sort_out
from models.dataset.survey import Advance, Found, Survey, silent, survey
from models.evaluation.pictures import Collection, Item
from stream.errors import ConfigurationError
from stream.events import TruthName

_NAMES: Mapping[int, TruthName] = {0: "authentic", 1: "ai_generated"}


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The pictures that were kept, and what was found.

    ``labels``, ``sources`` and ``groups`` (`models.dataset.splits.group`) are ``[N]``, in the order of `items`;
    ``rows`` is the list behind the manifest, as JSON lines.
    """

    collections: tuple[Collection, ...]
    labels: NDArray[np.int64]
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]
    report: Report
    manifest: DataManifest
    rows: bytes

    def items(self) -> Iterator[Item]:
        """Reads the kept pictures, one by one, in order."""
        for collection in self.collections:
            yield from collection.items()

    def refuse(self) -> None:
        """Lets training go on, or not.

        Raises:
            ConfigurationError: The set is not fit to train on; the message gives every reason.
        """
        if self.report.refusals:
            raise ConfigurationError(
                "; ".join(refusal.what for refusal in self.report.refusals),
                where=", ".join(collection.path.name for collection in self.collections),
                remedy=" ".join(dict.fromkeys(refusal.remedy for refusal in self.report.refusals)),
            )


def check(
    collections: Sequence[Collection],
    policy: Policy,
    *,
    delivered: Delivered | None = None,
    parent: DataManifest | None = None,
    advance: Advance = silent,
) -> Dataset:
    """Checks a set of pictures.

    Args:
        collections: From `models.evaluation.pictures.index`, which refuses what is unlabelled or of one class.
        policy: The limits.
        delivered: Encodes a picture anew as training will hand it to the network, ``(data, seed) -> data``; None where
            training takes the files as they are.
        parent: The manifest of the data that these grew out of.
        advance: Is told stage, done and total.

    Returns:
        The dataset, fit or not: `Dataset.refuse` decides. Equal pictures, policy and names give an equal one.

    Raises:
        ConfigurationError: A zip breaks in its middle, or two collections have one name.
    """
    names = Counter(collection.path.name for collection in collections)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise ConfigurationError(
            f"Two collections are called {repeated[0]}", where=repeated[0],
            remedy="The manifest names pictures by collection: rename one.",
        )  # fmt: skip
    seen = survey(collections, advance)
    dropped = sort_out(seen, policy)
    kept = [place for place in range(len(seen.pictures)) if place not in dropped]
    remaining = _remaining(collections, dropped)
    found = probes(seen, kept, remaining, policy, delivered=delivered, advance=advance)
    rows = listing.encode([_row(seen.pictures, place, dropped.get(place)) for place in range(len(seen.pictures))])
    manifest = DataManifest(
        collections={collection.path.name: len(collection.entries) for collection in collections},
        pictures=len(kept),
        sha256=root(seen.pictures[place].sha256 for place in kept),
        sources=_sources([seen.pictures[place] for place in kept]),
        dropped=_left(seen, dropped),
        policy=policy,
        probes={name: Finding.model_validate(one.model_dump(include=set(Finding.model_fields)))
                for name, one in found.items()},
        parent=parent.digest if parent else None,
        listing=hashlib.sha256(rows).hexdigest(),
    )  # fmt: skip
    pictures = [seen.pictures[place] for place in kept]
    return Dataset(
        remaining,
        np.array([picture.entry.label for picture in pictures], np.int64),
        np.array([picture.entry.source for picture in pictures], np.str_),
        np.array([picture.group for picture in pictures], np.str_),
        judge(manifest, found, policy),
        manifest,
        rows,
    )


def _remaining(collections: Sequence[Collection], dropped: Mapping[int, Dropped]) -> tuple[Collection, ...]:
    remaining, start = [], 0
    for collection in collections:
        entries = tuple(entry for place, entry in enumerate(collection.entries, start) if place not in dropped)
        start += len(collection.entries)
        remaining.append(replace(collection, entries=entries))
    return tuple(remaining)


def _sources(pictures: Sequence[Found]) -> tuple[Source, ...]:
    members: dict[str, list[Found]] = {}
    for picture in pictures:
        members.setdefault(picture.entry.source, []).append(picture)
    return tuple(
        Source(
            name=name,
            label=_NAMES[found[0].entry.label],
            pictures=len(found),
            sha256=root(picture.sha256 for picture in found),
            licences=dict(Counter(picture.licence for picture in found)),
        )
        for name, found in sorted(members.items())
    )


def _left(seen: Survey, dropped: Mapping[int, Dropped]) -> dict[Reason, Left]:
    members: dict[Reason, list[str]] = {}
    for place, one in dropped.items():
        members.setdefault(one.reason, []).append(seen.pictures[place].sha256)
    return {reason: Left(pictures=len(digests), sha256=root(digests)) for reason, digests in members.items()}


def _row(pictures: Sequence[Found], place: int, dropped: Dropped | None) -> listing.Row:
    picture = pictures[place]
    return listing.Row(
        collection=picture.collection, path=picture.entry.path, source=picture.entry.source, sha256=picture.sha256,
        stem=picture.stem, twin_of=picture.twin_of, licence=picture.licence, fault=picture.fault,
        dropped=dropped.reason if dropped else None,
        of=pictures[dropped.of].sha256 if dropped and dropped.of is not None else None,
    )  # fmt: skip
