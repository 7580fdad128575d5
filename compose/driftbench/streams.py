"""Traffic out of a pool: who posts what, without sending anything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compose.driftbench.pool import SHOTS, Pool
from producers.traffic import scenario
from producers.traffic.plan import Plan
from producers.traffic.scenes import CAMERA, TRAINED_FAMILIES

CALM = "calm"


class Uploads(NamedTuple):
    """Embeddings float32 ``[n, D]`` and scores float32 ``[n]``, in order of upload."""

    vectors: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


class World:
    """A pool dealt out anew: no picture is in the reference and in a stream.

    Args:
        pool: The embeddings.
        seed: Of the deal and of all traffic.
        left_out: A family that ordinary traffic does not have here although the model knows it.
    """

    def __init__(self, pool: Pool, *, seed: int, left_out: str | None = None) -> None:
        self._pool = pool
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        known = [family for family in TRAINED_FAMILIES if family != left_out]
        calm = scenario.load(CALM)
        phases = tuple(phase.model_copy(update={"families": dict.fromkeys(known, 1.0)}) for phase in calm.phases)
        self._scenario = calm.model_copy(update={"phases": phases})
        self._families = {family: (family,) for family in known}
        self._dealt = {
            family: self._rng.permutation(np.flatnonzero(pool.families == family))
            for family in np.unique(pool.families).tolist()
        }
        self._kept: dict[str, int] = {}

    def reference(self, count: int) -> Uploads:
        """Ordinary uploads, each a picture of its own, that no later stream shows."""
        order = self._supply({})
        plan = itertools.islice(Plan(self._scenario, self._families, seed=self._seed, endless=True), count)
        drawn = [(next(order[planned.family or CAMERA]), 0) for planned in plan]
        names, counts = np.unique(self._pool.families[[row for row, _ in drawn]], return_counts=True)
        self._kept = dict(zip(names.tolist(), counts.tolist(), strict=True))
        return self._uploads(drawn)

    def stream(
        self, count: int, *, number: int, family: str | None = None, share: float = 0.0, since: int = 0
    ) -> Uploads:
        """Ordinary uploads with the scenario's repetitions, and from one on a share of another family.

        Where a family's pictures are used up they come again, which makes windows more alike and alarms no rarer.

        Args:
            count: Uploads.
            number: Streams of one world with different numbers differ.
            family: What comes in.
            share: Of all uploads, whatever they would have been.
            since: The first upload that may be of it.
        """
        supply = self._supply(self._kept)
        rng = np.random.default_rng([self._seed, number])
        last: dict[tuple[str, str], tuple[int, int]] = {}
        drawn = []
        plan = Plan(self._scenario, self._families, seed=self._seed * 1000 + number, endless=True)
        for place, planned in enumerate(itertools.islice(plan, count)):
            if family is not None and place >= since and rng.random() < share:
                drawn.append((next(supply[family]), 0))
                continue
            key = (planned.post.persona, planned.label)
            row, shot = last.get(key, (-1, 0))
            if row < 0 or planned.post.repeat == "fresh":
                row, shot = next(supply[planned.family or CAMERA]), 0
            elif planned.post.repeat == "again":
                shot = (shot + 1) % SHOTS
            last[key] = row, shot
            drawn.append((row, shot))
        return self._uploads(drawn)

    def _supply(self, kept: dict[str, int]) -> dict[str, Iterator[int]]:
        return {
            family: itertools.cycle(rows[kept.get(family, 0) :].tolist() or rows.tolist())
            for family, rows in self._dealt.items()
        }

    def _uploads(self, drawn: list[tuple[int, int]]) -> Uploads:
        rows, shots = np.array(drawn).T
        return Uploads(self._pool.vectors[rows, shots].astype(np.float32), self._pool.scores[rows, shots])
