"""Which pictures are probed, what they tell, and in which state of theirs.

``original`` reads what `metadata.csv` says the pictures were before they were cut; ``found`` reads the files;
``delivered`` reads what training makes of them. ``bytes_per_pixel`` is apart: it depends on what a picture shows, so it
is told but never refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.dataset.policy import Policy
from models.dataset.probe import Columns, Probe, probe
from models.dataset.splits import draw
from models.dataset.survey import Advance, Found, Survey, Traits
from models.evaluation.pictures import Collection

Delivered = Callable[[bytes, int], bytes]

_TOLD_EVERY = 16


def probes(
    seen: Survey,
    kept: Sequence[int],
    remaining: Sequence[Collection],
    policy: Policy,
    *,
    delivered: Delivered | None,
    advance: Advance,
) -> dict[str, Probe]:
    """Probes a sample, as many of each class where there are as many, in every state that is known of it.

    Args:
        seen: All pictures.
        kept: The places of those that were kept.
        remaining: Collections of those, in the same order.
        policy: The limits.
        delivered: Encodes a picture anew as training does.
        advance: Is told what is done.

    Returns:
        Results by state; ``delivered`` is there only where training changes the files.
    """
    chosen = _sample([seen.pictures[place] for place in kept], policy)
    pictures = [seen.pictures[kept[place]] for place in chosen]
    labels = np.array([picture.entry.label for picture in pictures], np.int64)
    sources = np.array([picture.entry.source for picture in pictures], np.str_)
    groups = np.array([picture.group for picture in pictures], np.str_)

    def ask(columns: Columns) -> Probe:
        return probe(columns, labels, sources, groups, limit=policy.leak, seed=policy.seed)

    found = [picture.traits for picture in pictures if picture.traits is not None]
    states = {"found": ask(_columns(found))}
    originals = [picture.original for picture in pictures]
    if any(any(original) for original in originals):
        states["original"] = ask(
            {
                "original_width": np.array([_number(width) for width, _, _ in originals]),
                "original_height": np.array([_number(height) for _, height, _ in originals]),
                "original_format": _numbered([kind for _, _, kind in originals]),
            }
        )
    if delivered is not None:
        found = list(_delivered(remaining, chosen, delivered, policy.seed, advance))
        states["delivered"] = ask(_columns(found))
    states["bytes_per_pixel"] = ask({"bytes_per_pixel": np.array([traits.bytes_per_pixel for traits in found])})
    return states


def told(columns: Mapping[str, Probe]) -> str:
    """The state that decides: what the network will be given."""
    return "delivered" if "delivered" in columns else "found"


def _sample(pictures: Sequence[Found], policy: Policy) -> list[int]:
    order = np.argsort(draw(np.array([picture.sha256 for picture in pictures], np.str_), policy.seed), kind="stable")
    chosen: list[int] = []
    for label in (0, 1):
        mine = [place for place in order.tolist() if pictures[place].entry.label == label]
        chosen.extend(mine[: policy.probe_pictures // 2])
    return sorted(chosen)


def _delivered(
    remaining: Sequence[Collection], chosen: Sequence[int], delivered: Delivered, seed: int, advance: Advance
) -> Iterator[Traits]:
    wanted, start, done = set(chosen), 0, 0
    for collection in remaining:
        entries = tuple(entry for place, entry in enumerate(collection.entries, start) if place in wanted)
        start += len(collection.entries)
        for item in replace(collection, entries=entries).items():
            yield Traits.of(delivered(item.data, seed))
            done += 1
            if done % _TOLD_EVERY == 0 or done == len(chosen):
                advance("probe", done, len(chosen))


def _columns(traits: Sequence[Traits]) -> Columns:
    return {
        "width": np.array([one.width for one in traits], np.float64),
        "height": np.array([one.height for one in traits], np.float64),
        "format": _numbered([one.format for one in traits]),
        "quality": np.array([one.quality for one in traits], np.float64),
    }


def _numbered(names: Sequence[str]) -> NDArray[np.float64]:
    """The place of each name among the names; NaN for an empty one."""
    _, place = np.unique(np.array([name.lower() for name in names], np.str_), return_inverse=True)
    return np.where([bool(name) for name in names], place.astype(np.float64), np.nan)


def _number(text: str) -> float:
    return float(text) if text.isdecimal() else float("nan")
