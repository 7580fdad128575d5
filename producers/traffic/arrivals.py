"""When uploads arrive: a Poisson process whose rate switches between quiet and bursts.

The process is a two-state Markov-modulated Poisson process (Fischer and Meier-Hellstern, "The Markov-modulated Poisson
process (MMPP) cookbook", Performance Evaluation 18, 1993): the time spent in each state is exponential, and inside a
state arrivals are Poisson. As the exponential has no memory, it is simulated exactly, state by state, with no thinning.

Times are seconds from the process's start. Everything is drawn from the `random.Random` that is passed in, so that the
same seed gives the same times on every machine.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Bursts:
    """How bursts come.

    Attributes:
        factor: Rate inside a burst over the rate outside; 1 is a plain Poisson process.
        mean_s: Mean length of a burst, seconds.
        every_s: Mean time from one burst's start to the next one's, seconds; longer than `mean_s`.
    """

    factor: float = 1.0
    mean_s: float = 2.0
    every_s: float = 20.0

    @property
    def share(self) -> float:
        """Share of the time spent in bursts."""
        return self.mean_s / self.every_s

    def quiet_rate(self, mean_rate: float) -> float:
        """The rate outside bursts that makes the long-run mean ``mean_rate``."""
        return mean_rate / (1.0 - self.share + self.share * self.factor)


class Stretch(NamedTuple):
    """A time of constant rate: [start_s, end_s) at ``rate`` arrivals per second."""

    start_s: float
    end_s: float
    rate: float


def stretches(mean_rate: float, bursts: Bursts, random: Random) -> Iterator[Stretch]:
    """The endless path of the rate, beginning in the long-run mix of quiet and burst."""
    if bursts.factor == 1.0:
        yield Stretch(0.0, math.inf, mean_rate)
        return
    quiet = bursts.quiet_rate(mean_rate)
    bursting = random.random() < bursts.share
    start = 0.0
    while True:
        mean = bursts.mean_s if bursting else bursts.every_s - bursts.mean_s
        end = start + random.expovariate(1.0 / mean)
        yield Stretch(start, end, quiet * bursts.factor if bursting else quiet)
        start, bursting = end, not bursting


def arrivals(path: Iterator[Stretch], random: Random) -> Iterator[float]:
    """Arrival times along a path of rates, strictly in order, without end if the path has none."""
    for stretch in path:
        time = stretch.start_s
        while stretch.rate > 0.0:
            time += random.expovariate(stretch.rate)
            if time >= stretch.end_s:
                break
            yield time


def poisson(mean_rate: float, bursts: Bursts, seed: str) -> Iterator[float]:
    """Arrival times with a long-run mean of ``mean_rate`` per second, without end."""
    # Two sources, so that the bursts of a seed stay where they are when only the rate changes.
    return arrivals(stretches(mean_rate, bursts, Random(f"{seed}/bursts")), Random(f"{seed}/arrivals"))  # noqa: S311
