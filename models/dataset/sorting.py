"""Which pictures are left out, and for which one they were: duplicates, conflicts, tiny and unreadable ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.dataset.fingerprints import flat, hashes, likeness
from models.dataset.neighbours import Pairs, near
from models.dataset.policy import Policy, Reason
from models.dataset.survey import Found, Survey


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a picture is left out; ``of`` is the place of the picture it repeats or contradicts."""

    reason: Reason
    of: int | None = None


def sort_out(survey: Survey, policy: Policy) -> dict[int, Dropped]:
    """What is left out, by place; see `Policy` for the rules."""
    out: dict[int, Dropped] = {}
    copies: dict[str, list[int]] = defaultdict(list)
    for place, picture in enumerate(survey.pictures):
        if picture.traits is None:
            out[place] = Dropped("unreadable")
        elif min(picture.traits.width, picture.traits.height) < policy.smallest_side:
            out[place] = Dropped("tiny")
        else:
            copies[picture.sha256].append(place)
    for family in families(survey, [places[0] for places in copies.values()], policy):
        members = [place for first in family for place in copies[survey.pictures[first].sha256]]
        labels = {survey.pictures[place].entry.label for place in members}
        if len(labels) > 1:
            out |= {place: Dropped("conflict", _opposite(survey.pictures, place, members)) for place in members}
            continue
        kept = max(family, key=lambda place: (_area(survey.pictures[place]), -place))
        for first in family:
            same = copies[survey.pictures[first].sha256]
            if first != kept:
                out[first] = Dropped("near_duplicate", kept)
            out |= {place: Dropped("duplicate", first) for place in same[1:]}
    return dict(sorted(out.items()))


def families(survey: Survey, firsts: Sequence[int], policy: Policy) -> list[list[int]]:
    """Places of pictures of different bytes, each with those that are nearly the same, directly or through others."""
    places = np.array(firsts, np.int64)
    pairs = _alike(survey, places, policy)
    ones = np.ones(len(pairs), np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(places), len(places)))
    _, family = connected_components(graph, directed=False)
    members: dict[int, list[int]] = defaultdict(list)
    for place, number in zip(firsts, family.tolist(), strict=True):
        members[number].append(place)
    return list(members.values())


def _alike(survey: Survey, places: np.ndarray[tuple[int], np.dtype[np.int64]], policy: Policy) -> Pairs:
    """Pairs of indexes into ``places``: near by hash, alike by coefficients, and not of one group."""
    found = survey.coefficients[places]
    telling = np.flatnonzero(~flat(found))
    pairs = telling[near(hashes(found[telling]), policy.hash_distance)]
    pairs = pairs[likeness(found, pairs) >= policy.likeness]
    pictures = [survey.pictures[place] for place in places.tolist()]
    strangers = [pictures[one].group != pictures[other].group for one, other in pairs.tolist()]
    return np.asarray(pairs[np.array(strangers, bool)])


def _opposite(pictures: Sequence[Found], place: int, members: Sequence[int]) -> int:
    """The first picture of the other label: an identical one, if there is one."""
    mine = pictures[place]
    others = [other for other in members if pictures[other].entry.label != mine.entry.label]
    return min(others, key=lambda other: (pictures[other].sha256 != mine.sha256, other))


def _area(picture: Found) -> int:
    return picture.traits.width * picture.traits.height if picture.traits else 0
