"""Runs the bench: the pool, then the trials in processes, then the figures."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from compose.driftbench import pool, trials
from compose.driftbench.pool import PoolPlan
from compose.driftbench.trials import BenchPlan, Outcome, Trial
from producers.traffic.scenes import TRAINED_FAMILIES, UNSEEN_FAMILIES
from stream.errors import ConfigurationError

_SEEDS_APART = 1_000_000


def check(sizes: PoolPlan, plan: BenchPlan, families: Sequence[str]) -> None:
    """Says before the work whether there are enough pictures for a reference and a stream that share none.

    Raises:
        ConfigurationError: There are not; repeated pictures would look like drift.
    """
    half = (plan.calibration + plan.clean) // 2  # Half of the calm traffic is photographs.
    known = len(TRAINED_FAMILIES) - any(family in TRAINED_FAMILIES for family in families)
    needed = {
        "--photographs": (sizes.photographs, half),
        "--per-family": (sizes.per_trained, half // known),
    }
    for option, (given, least) in needed.items():
        if given < least:
            what = f"{given} different pictures are too few; repeated ones would look like drift"
            remedy = f"Give at least {least}, or a smaller --calibration or --clean"
            raise ConfigurationError(what, where=option, remedy=remedy)


def planned(families: Sequence[str], *, streams: int, runs: int, seed: int) -> list[Trial]:
    """The trials: ``streams`` clean ones, and ``runs`` of each family.

    A family that the model knows is left out of its world's ordinary traffic, so that there it is new to the reference
    although it is not to the model.
    """
    first = seed * _SEEDS_APART
    unseen = tuple(family for family in families if family in UNSEEN_FAMILIES)
    found = [
        Trial(first + number, None, number < streams, unseen if number < runs else ())
        for number in range(max(streams, runs if unseen else 0))
    ]
    left_out = [family for family in families if family in TRAINED_FAMILIES]
    return found + [
        Trial(first + len(found) + block * runs + number, family, False, (family,))
        for block, family in enumerate(left_out)
        for number in range(runs)
    ]


def outcomes(
    path: Path, plan: BenchPlan, chosen: Sequence[Trial], *, processes: int, advance: Callable[[int], None]
) -> Iterator[Outcome]:
    """Runs trials on the embeddings in a file; the same for any number of processes."""
    if processes == 1:
        embeddings = pool.load(path)
        for trial in chosen:
            yield from trials.run(embeddings, plan, trial)
            advance(1)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_open, initargs=(path, plan)) as workers:
        for found in workers.map(_run, chosen):
            yield from found
            advance(1)


_opened: list[tuple[pool.Pool, BenchPlan]] = []


def _open(path: Path, plan: BenchPlan) -> None:
    _opened.append((pool.load(path), plan))


def _run(trial: Trial) -> list[Outcome]:
    return trials.run(*_opened[0], trial)
