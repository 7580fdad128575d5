"""Early warning: a bet, placed anew on every upload, that the uploads have become strange.

An upload's strangeness is its distance from the nearest embeddings of the reference; its conformal p-value is the share
of unchanged embeddings that are at least as strange (V. Vovk et al., "Algorithmic Learning in a Random World", 2005),
uniform as long as nothing changes. A bet on small p-values multiplies a gambler's money by 1 in the mean then, and by
more afterwards. The Shiryaev–Roberts sum starts a gambler at every upload and adds up their money,
Rₜ = (1 + Rₜ₋₁)·eₜ, so that whenever the change comes somebody began to bet just before it; unchanged traffic reaches
``limit`` once in at least ``limit`` uploads in the mean (J. Shin, A. Ramdas and A. Rinaldo, "E-detectors", New England
Journal of Statistics in Data Science 2, 2024).

It sees single uploads that are unlike anything known, within dozens of them, and names them. A family that lies amid
what is known it does not see; that is what windows are for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drift.projection import checked
from drift.reference import Reference

Floats = npt.NDArray[np.float64]

LIMIT = 1e5
SUSPECTS = 24

_BETS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
_STAKE = 0.2
_REMEMBERED = 2000
_STRANGE = 0.05


@dataclass(frozen=True, slots=True)
class Alert:
    """Where the detector stands.

    Attributes:
        e_value: The largest Shiryaev–Roberts sum among the uploads just seen.
        fired: It reached the limit; the sum began again from nothing.
        suspects: Ids of the strangest uploads of late, strangest first.
    """

    e_value: float
    fired: bool
    suspects: tuple[str, ...]


class Novelty:
    """The detector for one stream of one model's embeddings; not thread-safe.

    Args:
        reference: Of that model.
        limit: Uploads between two false warnings, in the mean, at least.
        suspects: How many to name.
    """

    def __init__(self, reference: Reference, *, limit: float = LIMIT, suspects: int = SUSPECTS) -> None:
        self._neighbours = reference.neighbours()
        self._dimensions = reference.projection.dimensions
        self._usual = reference.strangeness
        self._limit = limit
        self._named = suspects
        self._sum = 0.0
        self._seen = 0
        self._recent: deque[tuple[int, float, str]] = deque()

    def see(self, vector: npt.NDArray[np.floating], score: float, upload_id: str) -> Alert:
        """Takes one upload, ``[D]``; `see_many` is far cheaper for each."""
        return self.see_many(vector[None], np.array([score]), [upload_id])

    def see_many(
        self, vectors: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], upload_ids: Sequence[str]
    ) -> Alert:
        """Takes uploads in the order they came, with the same outcome as one by one.

        Args:
            vectors: ``[n, D]``.
            scores: ``[n]``; not bet on.
            upload_ids: ``n`` of them.

        Raises:
            MalformedEvent: Embeddings of another length, or a number is not finite.
        """
        checked(vectors, self._dimensions)
        checked(scores[:, None], 1)
        distances = self._neighbours.distances(vectors.astype(np.float32))
        p_values = self._p_values(distances)
        highest, fired = self._sum, False
        for e_value in winnings(p_values).tolist():
            self._sum = (1.0 + self._sum) * e_value
            highest = max(highest, self._sum)
            if self._sum >= self._limit:
                fired, self._sum = True, 0.0
        self._remember(distances, p_values, upload_ids)
        return Alert(highest, fired, self.suspects)

    @property
    def suspects(self) -> tuple[str, ...]:
        """Ids of the strangest of the last uploads, strangest first; only such as are strange at all."""
        strangest = heapq.nlargest(self._named, self._recent, key=lambda seen: seen[1])
        return tuple(dict.fromkeys(upload_id for _, _, upload_id in strangest))

    def _p_values(self, distances: npt.NDArray[np.float32]) -> Floats:
        as_strange = len(self._usual) - np.searchsorted(self._usual, distances, side="left")
        return np.asarray((1.0 + as_strange) / (1.0 + len(self._usual)), np.float64)

    def _remember(self, distances: npt.NDArray[np.float32], p_values: Floats, upload_ids: Sequence[str]) -> None:
        for place in np.flatnonzero(p_values <= _STRANGE).tolist():
            self._recent.append((self._seen + place, float(distances[place]), upload_ids[place]))
        self._seen += len(distances)
        while self._recent and self._recent[0][0] < self._seen - _REMEMBERED:
            self._recent.popleft()


def winnings(p_values: Floats) -> Floats:
    """What a bet multiplies the gambler's money by: a mean of ``κ·p^(κ−1)``, with a part kept back.

    The mean over a uniform p is 1, for each κ.
    """
    bets = (_BETS * p_values[:, None] ** (_BETS - 1.0)).mean(axis=1)
    found: Floats = 1.0 - _STAKE + _STAKE * bets
    return found
