"""From a scenario to a deterministic list of what is uploaded when: the plan, without any picture yet."""

import itertools
from bisect import bisect
from collections.abc import Iterator, Mapping
from random import Random
from typing import NamedTuple

from producers.traffic import arrivals
from producers.traffic.personas import Crowd, Post
from producers.traffic.scenario import Phase, Scenario
from stream.errors import ConfigurationError
from stream.events import TruthName


class Planned(NamedTuple):
    """One upload of the plan; ``at_s`` is seconds from the run's start, ``family`` is None for a photograph."""

    at_s: float
    phase: str
    label: TruthName
    family: str | None
    tier: str
    post: Post


class Plan:
    """Everything a run will upload; iterating twice gives the same twice.

    Args:
        scenario: What to play.
        families: Names that the scenario's `families` may use, each with the families it stands for.
        seed: Same seed, same plan.
        endless: The last phase goes on for ever, so that a run may be longer than its scenario.

    Raises:
        ConfigurationError: A phase asks for families that these pictures do not have.
    """

    def __init__(
        self, scenario: Scenario, families: Mapping[str, tuple[str, ...]], *, seed: int, endless: bool
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._endless = endless
        self._family_weights = [_spread(phase, families) if phase.fake_share else {} for phase in scenario.phases]

    @property
    def newcomers(self) -> tuple[str, ...]:
        """Families that some later phase has and the first one has not, sorted."""
        first, *later = ({name for name, weight in weights.items() if weight} for weights in self._family_weights)
        return tuple(sorted(set[str]().union(*later) - first))

    def __iter__(self) -> Iterator[Planned]:
        random = Random(f"{self._seed}/plan")  # noqa: S311
        crowd = Crowd(random, self._seed)
        start = 0.0
        last = len(self._scenario.phases) - 1
        for number, phase in enumerate(self._scenario.phases):
            times = arrivals.poisson(phase.rate, phase.burst.as_bursts(), seed=f"{self._seed}/{number}")
            if number < last or not self._endless:
                times = _ending(times, phase)
            at = 0.0
            for at in times:
                yield self._plan(start + at, phase, self._family_weights[number], crowd, random)
            start += phase.duration_s if phase.duration_s is not None else at

    @staticmethod
    def _plan(at_s: float, phase: Phase, families: Mapping[str, float], crowd: Crowd, random: Random) -> Planned:
        label: TruthName = "ai_generated" if random.random() < phase.fake_share else "authentic"
        post = crowd.post(label, phase.personas)
        tier = random.choices(list(phase.tiers), list(phase.tiers.values()))[0]
        point = random.random() if post.taste is None else post.taste
        family = _pick(families, point) if label == "ai_generated" else None
        return Planned(at_s, phase.name, label, family, tier, post)


def _ending(times: Iterator[float], phase: Phase) -> Iterator[float]:
    end = phase.duration_s
    return itertools.islice(times, phase.events) if end is None else itertools.takewhile(lambda at: at < end, times)


def _spread(phase: Phase, families: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    # Groups become their members in equal parts.
    weights: dict[str, float] = {}
    for name, weight in phase.families.items():
        members = families.get(name, ())
        if not members and weight:
            known = ", ".join(sorted(key for key, value in families.items() if value)) or "none at all"
            what = f"phase “{phase.name}” asks for machine-made pictures of family “{name}”"
            raise ConfigurationError(what, where="scenario", remedy=f"These pictures have {known}")
        for member in members:
            weights[member] = weights.get(member, 0.0) + weight / len(members)
    return weights


def _pick(weights: Mapping[str, float], point: float) -> str:
    names = list(weights)
    heights = list(itertools.accumulate(weights.values()))
    return names[min(bisect(heights, point * heights[-1]), len(names) - 1)]
