"""One trial: a reference of its own, and streams judged by it as the monitor would.

In Evidently's place is `drift.divergence`, which gives the same figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compose.driftbench.pool import Pool
from compose.driftbench.streams import Uploads, World
from drift.judgement import Judgement, judge
from drift.novelty import Novelty
from drift.policy import Policy, Rules
from drift.reference import Reference
from stream.doubles import ManualClock

_SECONDS_A_WINDOW = 10.0


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How streams are made and judged.

    Attributes:
        window: Embeddings judged together.
        reference: Embeddings that windows are compared with.
        calibration: Embeddings that a reference is built of.
        alpha: Share of unchanged windows beyond a threshold.
        components: Principal directions that are watched.
        repetitions: Re-partitions.
        clean: Uploads of a stream in which nothing happens.
        share: Of the new family.
        within: Uploads after which it must have been told.
        rules: The policy's.
    """

    window: int
    reference: int
    calibration: int
    alpha: float
    components: int
    repetitions: int
    clean: int
    share: float
    within: int
    rules: Rules


@dataclass(frozen=True, slots=True)
class Trial:
    """A world and what enters it: nothing, and each of some families, one stream each."""

    seed: int
    left_out: str | None
    clean: bool
    families: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one stream.

    Attributes:
        family: What entered; None where nothing did.
        windows: How many were judged.
        beyond: In how many something was beyond its threshold, nothing having entered yet.
        alarms: Alarms while nothing had entered.
        early: Early warnings while nothing had entered.
        delay: Uploads from the family's entry to the end of the window that alarmed; None if none did.
        early_delay: The same to the window that the early warning came in.
    """

    family: str | None
    windows: int
    beyond: int
    alarms: int
    early: int
    delay: int | None = None
    early_delay: int | None = None


def run(pool: Pool, plan: BenchPlan, trial: Trial) -> list[Outcome]:
    """Builds the trial's reference and judges its streams."""
    world = World(pool, seed=trial.seed, left_out=trial.left_out)
    reference = Reference.build(
        *world.reference(plan.calibration), model_digest="", window=plan.window, seed=trial.seed,
        size=plan.reference, alpha=plan.alpha, components=plan.components, repetitions=plan.repetitions, parts=(1,),
    )  # fmt: skip
    outcomes = []
    if trial.clean:
        outcomes.append(_judged(reference, plan, world.stream(plan.clean, number=0)))
    for number, family in enumerate(trial.families, 1):
        # A window and a half of calm on average, then the family, to the end of the window in which time is up.
        since = plan.window + int(np.random.default_rng([trial.seed, number]).integers(plan.window))
        length = -(-(since + plan.within) // plan.window) * plan.window
        uploads = world.stream(length, number=number, family=family, share=plan.share, since=since)
        outcomes.append(_judged(reference, plan, uploads, family, since))
    return outcomes


def _judged(
    reference: Reference, plan: BenchPlan, uploads: Uploads, family: str | None = None, since: int | None = None
) -> Outcome:
    clock = ManualClock()
    policy, detector = Policy(plan.rules, clock), Novelty(reference)
    before: Judgement | None = None
    windows = beyond = alarms = early = 0
    told: dict[str, int] = {}
    for begin in range(0, len(uploads.scores) - plan.window + 1, plan.window):
        end = begin + plan.window
        vectors, scores = uploads.vectors[begin:end], uploads.scores[begin:end]
        fired = detector.see_many(vectors, scores, [str(number) for number in range(begin, end)]).fired
        before = judge(reference, vectors, scores, before=before)
        status = policy.see(before, early=fired).status
        clock.advance(_SECONDS_A_WINDOW)
        windows += 1
        if since is None or end <= since:
            beyond += bool(before.exceeded)
            alarms += status == "alarm"
            early += fired
        else:
            for name, now in (("alarm", status == "alarm"), ("early", fired)):
                if now:
                    told.setdefault(name, end - since)
    return Outcome(family, windows, beyond, alarms, early, told.get("alarm"), told.get("early"))
