"""When to release a batch and how large: the decision alone, with the clock passed in.

The device is idle and ``n`` pictures wait. Let a batch cost a + b·n seconds and the next picture come in g seconds.
Released now, the n finish at a + b·n and the newcomer, who finds the device busy, at 2a + b·(n+1). Held for it, all
n + 1 finish at g + a + b·(n+1). The sum of all finishing times is smaller when held exactly if

    g < (a − b·n) / (n + 1)                                        the patience with n waiting

so a batch is held only while pictures are expected within the patience, and never longer than that after the last one
came. With a ≈ 0 (a CPU) the patience is nought and everything is released at once; at 50 pictures a second on a device
with a = 4 ms as well, since the next picture is 20 ms away; near the maximum rate a batch is held for a few arrivals.

How many to take of m that wait: in batches of n the mean finishing time is ½·(a + b·n)·(m/n + 1), which is smallest at
n = √(a·m/b), the square-root rule of economic order quantities (Harris, 1913). So batches grow as a backlog does,
towards `max_batch` in overload, and stay at one where batching gains nothing. A batch is never so large that it
alone would take longer than the latency objective, and never held so long that its oldest picture would miss it.
"""

import math
from dataclasses import dataclass
from typing import Self

from consumers.classify.cost import Cost
from stream.settings import WorkerSettings

_MAX_BATCH = 64
_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Release:
    """Run ``size`` pictures now."""

    size: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait for another picture, but no longer than until the monotonic time ``until``."""

    until: float


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """The bounds of every decision.

    Attributes:
        objective_s: Latency objective in seconds, counted from a picture's arrival in the worker.
        max_batch: Pictures in a batch at most.
    """

    objective_s: float
    max_batch: int

    @classmethod
    def of(cls, settings: WorkerSettings, measured: int | None) -> Self:
        """As the settings say; where they leave the largest batch open, as it was measured to be quickest."""
        return cls(settings.latency_objective_ms / 1000, settings.max_batch or measured or _MAX_BATCH)

    def decide(
        self, *, now: float, waiting: int, oldest: float, gap_s: float, last: float, cost: Cost
    ) -> Release | Hold:
        """Decides for an idle device.

        Args:
            now: Monotonic seconds.
            waiting: Pictures ready, at least one.
            oldest: When the oldest of them arrived in the worker.
            gap_s: Mean seconds between pictures becoming ready.
            last: When the last one became ready.
            cost: What a batch costs.
        """
        size = self.size(waiting, cost)
        patience = (cost.fixed_s - cost.each_s * waiting) / (waiting + 1)
        until = min(last + patience, oldest + self.objective_s - cost.seconds(waiting + 1))
        if size < waiting or waiting >= self.max_batch or gap_s >= patience or now >= until:
            return Release(size)
        return Hold(until)

    def size(self, waiting: int, cost: Cost) -> int:
        """How many of ``waiting`` pictures to take; between 1 and ``waiting``."""
        best = math.ceil(math.sqrt(cost.fixed_s * waiting / cost.each_s))
        within_objective = int((self.objective_s - cost.fixed_s) / cost.each_s)
        return max(1, min(best, within_objective, self.max_batch, waiting))


class ArrivalRate:
    """Mean gap between arrivals, exponentially weighted; a lull counts as soon as it lasts longer than the mean."""

    def __init__(self) -> None:
        self._gap_s = math.inf
        self.last = -math.inf

    def arrived(self, now: float) -> None:
        """Counts one arrival."""
        gap = now - self.last
        if math.isfinite(gap):
            known = math.isfinite(self._gap_s)
            self._gap_s = self._gap_s + _SMOOTHING * (gap - self._gap_s) if known else gap
        self.last = now

    def gap_s(self, now: float) -> float:
        """Mean seconds between arrivals, as it looks at ``now``; infinite before the second."""
        return max(self._gap_s, now - self.last)
