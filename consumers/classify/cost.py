"""What a batch costs on the device: seconds ≈ a + b·n, learned from every batch that runs.

Exponentially weighted least squares over (n, seconds): each observation ages the earlier ones by a constant factor,
so the model follows a device that throttles or is shared. Two additions make it safe to steer by. The probes taken
when the model was warmed up are never forgotten: traffic that only ever makes batches of one says nothing about how
cost grows, and the probes then still do. And one observation counts for at most `_OUTLIER` times its prediction: a
page fault or a stolen core does not bend the line, a device that has really become slower bends it within a few
batches.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_MEMORY = 64
_OUTLIER = 3.0
_FLOOR_S = 1e-6


@dataclass(frozen=True, slots=True)
class Cost:
    """A fitted line.

    Attributes:
        fixed_s: a, seconds a batch costs before its first picture; ≥ 0.
        each_s: b, seconds each picture adds; > 0.
    """

    fixed_s: float
    each_s: float

    def seconds(self, n: int) -> float:
        """Predicted seconds for a batch of ``n``."""
        return self.fixed_s + self.each_s * n


class CostModel:
    """Learns `Cost` online. Not thread-safe: the batcher guards it.

    Args:
        probes: (n, seconds) measured while warming up. Without any, a batch is taken to cost as much before its first
            picture as each picture adds, which makes the batcher try several sizes and so find out.
    """

    def __init__(self, probes: Iterable[tuple[int, float]] = ()) -> None:
        self._probes = tuple(probes) or ((1, 0.002), (2, 0.003))
        self._weights = self._n = self._nn = self._t = self._nt = 0.0
        self.cost = self._fit()

    def observe(self, n: int, seconds: float) -> None:
        """Learns from one batch of ``n`` that took ``seconds``."""
        if self._weights:
            seconds = min(seconds, _OUTLIER * self.cost.seconds(n))
        keep = 1.0 - 1.0 / _MEMORY
        self._weights = keep * self._weights + 1.0
        self._n = keep * self._n + n
        self._nn = keep * self._nn + n * n
        self._t = keep * self._t + seconds
        self._nt = keep * self._nt + n * seconds
        self.cost = self._fit()

    def _fit(self) -> Cost:
        weights = self._weights + len(self._probes)
        n = self._n + sum(size for size, _ in self._probes)
        nn = self._nn + sum(size * size for size, _ in self._probes)
        t = self._t + sum(seconds for _, seconds in self._probes)
        nt = self._nt + sum(size * seconds for size, seconds in self._probes)
        spread = weights * nn - n * n
        each = (weights * nt - n * t) / spread if spread > 0 else 0.0
        fixed = (t - each * n) / weights
        if fixed < 0:
            fixed, each = 0.0, nt / nn
        if each <= 0:
            fixed, each = t / weights, _FLOOR_S
        return Cost(fixed, max(each, _FLOOR_S))
