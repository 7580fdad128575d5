"""A device and a stream of arrivals, played in simulated time through the worker's own policy and cost model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consumers.classify.batching import ArrivalRate, BatchPolicy, Release
from consumers.classify.cost import CostModel


@dataclass
class Played:
    """What became of the arrivals: seconds each took, and the size of every batch."""

    latencies: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    ended: float = 0.0


def play(policy: BatchPolicy, arrivals: Sequence[float], fixed_s: float, each_s: float) -> Played:
    """Runs until every arrival was served."""
    played, model, rate = Played(), CostModel([(1, fixed_s + each_s), (4, fixed_s + 4 * each_s)]), ArrivalRate()
    queue: list[float] = []
    coming = list(arrivals)
    now = 0.0
    while queue or coming:
        while coming and coming[0] <= now:
            rate.arrived(coming[0])
            queue.append(coming.pop(0))
        if not queue:
            now = coming[0]
            continue
        decision = policy.decide(
            now=now, waiting=len(queue), oldest=queue[0], gap_s=rate.gap_s(now), last=rate.last, cost=model.cost
        )
        if not isinstance(decision, Release):
            now = max(now + 1e-9, min([decision.until, *coming[:1]]))
            continue
        batch, queue = queue[: decision.size], queue[decision.size :]
        took = fixed_s + each_s * len(batch)
        now += took
        model.observe(len(batch), took)
        played.sizes.append(len(batch))
        played.latencies += [now - arrived for arrived in batch]
    played.ended = now
    return played
