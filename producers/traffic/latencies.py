"""Percentiles of durations in bounded memory: a histogram whose buckets grow by one per cent."""

import math
from collections import Counter

_GROWTH = math.log(1.01)
_SMALLEST_MS = 0.01


class Latencies:
    """Durations in milliseconds; percentiles are within half a per cent, the largest is exact.

    At most about 2,500 buckets are ever in use (10 µs to several days), however many durations are added. Anything
    below 10 µs, negative numbers from clocks that disagree included, counts as 10 µs.
    """

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0
        self._largest = 0.0

    def __len__(self) -> int:
        return self._count

    def add(self, ms: float) -> None:
        """Counts one duration."""
        self._buckets[round(math.log(max(ms, _SMALLEST_MS)) / _GROWTH)] += 1
        self._count += 1
        self._largest = max(self._largest, ms)

    def percentile(self, share: float) -> float | None:
        """The smallest duration that at least ``share`` of all do not exceed (nearest rank); None if there are none."""
        wanted = math.ceil(share * self._count)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(math.exp(bucket * _GROWTH), self._largest)
        return None

    def report(self) -> dict[str, float | None]:
        """p50, p95, p99 and the largest, in milliseconds; None where nothing was counted."""
        values = {name: self.percentile(share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
        values["max"] = self._largest if self._count else None
        return {name: None if value is None else round(value, 2) for name, value in values.items()}
