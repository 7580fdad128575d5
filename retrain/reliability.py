"""How far a person's labels can be trusted, and how far any one person may carry the rest.

A reviewer is held against golden labels and against what the others said of the same upload. Agreement is a share with
a beta prior (T. Bayes; Gelman et al., "Bayesian Data Analysis", 3rd ed., 2.4), so that a newcomer is neither a saint
nor a fool. What a word is worth is the person's advantage over a coin, ``2·share − 1``: under symmetric label noise the
expected loss shrinks by exactly that factor (N. Natarajan et al., "Learning with Noisy Labels", 2013).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from retrain.labels import Opinion, standing

K = TypeVar("K", bound=Hashable)

PRIOR_AGREED, PRIOR_DISAGREED = 9.0, 1.0
_BY_PEERS = 0.5


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often a person agreed and disagreed; a comparison with peers counts half of one with a golden label."""

    agreed: float = 0.0
    disagreed: float = 0.0

    @property
    def share(self) -> float:
        """Expected agreement, in (0, 1)."""
        return (PRIOR_AGREED + self.agreed) / (PRIOR_AGREED + self.agreed + PRIOR_DISAGREED + self.disagreed)

    @property
    def trust(self) -> float:
        """What a word is worth, in [0, 1)."""
        return max(0.0, 2 * self.share - 1)


def reliabilities(uploads: Iterable[Sequence[Opinion]]) -> dict[str, Reliability]:
    """Holds everybody against golden labels, and where there is none against the majority of the others.

    Args:
        uploads: All opinions of each upload. Golden labels are the measure and are not measured themselves.
    """
    agreed: dict[str, float] = defaultdict(float)
    disagreed: dict[str, float] = defaultdict(float)
    people: set[str] = set()
    for opinions in uploads:
        voices = standing(opinions)
        golden = [voice for voice in voices if voice.origin == "golden"]
        others = [voice for voice in voices if voice.origin != "golden"]
        people.update(voice.reviewer for voice in others)
        for voice in others:
            measure, counts = (golden, 1.0) if golden else ([one for one in others if one is not voice], _BY_PEERS)
            for_it = sum(one.label == voice.label for one in measure)
            against = len(measure) - for_it
            if for_it > against:
                agreed[voice.reviewer] += counts
            elif against > for_it:
                disagreed[voice.reviewer] += counts
    return {person: Reliability(agreed[person], disagreed[person]) for person in sorted(people)}


def count_limit(owned: Mapping[K, int], free: int, share: float) -> int:
    """The most labels of one person, so that nobody holds more than ``share`` of what is then kept.

    Args:
        owned: Labels that rest on one person's word, by person.
        free: Labels that rest on nobody's alone.
        share: Most of all kept labels that one person may hold, in (0, 1].
    """
    kept = free + sum(owned.values())
    while True:
        limit = int(share * kept + 1e-9)
        left = free + sum(min(count, limit) for count in owned.values())
        if left == kept:
            return limit
        kept = left


def weight_limit(owned: Mapping[K, float], free: float, share: float) -> float:
    """The most weight of one person, so that nobody carries more than ``share`` of the weight that then remains.

    ``owned`` and ``free`` as in `count_limit`, in sums of weights, none negative. Found exactly: with the ``m``
    heaviest people at the limit ``L``, what remains is ``(free + the others) / (1 − m·share)`` and ``L`` is ``share``
    of that.
    """
    heaviest = sorted(owned.values(), reverse=True)
    rest = free + sum(heaviest)
    for capped, weight in enumerate(heaviest):
        room = 1 - capped * share
        if room <= 0:
            return 0.0
        limit = share * rest / room
        if weight <= limit * (1 + 1e-12):
            return limit
        rest -= weight
    room = 1 - len(heaviest) * share
    return share * rest / room if room > 0 else 0.0
