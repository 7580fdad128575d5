"""The thread shell around `batching`: decode threads put pictures in, the device's thread takes batches out."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from consumers.classify.batching import ArrivalRate, BatchPolicy, Hold, Release
from consumers.classify.cost import Cost, CostModel
from stream.ports import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    item: T
    arrived: float


class Batcher(Generic[T]):
    """A queue that gives out batches when releasing one costs less than waiting.

    One thread takes, any number put. What is put in is taken out exactly once, in order. It holds two of the largest
    batches, one to run and one to follow, so that prepared pictures do not fill the memory while the device is slow.

    Args:
        policy: Latency objective and largest batch.
        clock: Time; its `monotonic` is what arrivals are counted in.
    """

    def __init__(self, policy: BatchPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._model = CostModel()
        self._rate = ArrivalRate()
        self._queue: deque[_Waiting[T]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def cost(self) -> Cost:
        """What a batch is believed to cost at present."""
        with self._changed:
            return self._model.cost

    def __len__(self) -> int:
        return len(self._queue)

    def relearn(self, probes: Iterable[tuple[int, float]], policy: BatchPolicy | None = None) -> None:
        """Forgets the device's cost and starts from (n, seconds) measured on a new model.

        Args:
            probes: What was measured.
            policy: Latency objective and largest batch from now on, where they change with the model.
        """
        with self._changed:
            self._model = CostModel(probes)
            self._policy = policy or self._policy
            self._changed.notify_all()

    def observe(self, n: int, seconds: float) -> None:
        """Tells what a batch of ``n`` took."""
        with self._changed:
            self._model.observe(n, seconds)

    def put(self, item: T, arrived: float) -> None:
        """Adds a picture that is ready to run; waits while the batcher is full. After `close` it is let go.

        Args:
            item: The picture.
            arrived: Monotonic seconds when it came into the worker, which the latency objective counts from.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._queue) < 2 * self._policy.max_batch)
            self._rate.arrived(self._clock.monotonic())
            self._queue.append(_Waiting(item, arrived))
            self._changed.notify_all()

    def take(self) -> list[T]:
        """Waits for the next batch. To call is to say that the device is idle.

        Returns:
            At least one picture; an empty list once the batcher is closed.
        """
        with self._changed:
            while not self._closed:
                wait_s: float | None = None
                if self._queue:
                    decision = self._decide(now := self._clock.monotonic())
                    if isinstance(decision, Release):
                        self._changed.notify_all()
                        return [self._queue.popleft().item for _ in range(decision.size)]
                    wait_s = max(0.0, decision.until - now)
                self._changed.wait(wait_s)
            return []

    def close(self) -> None:
        """Ends every wait; what was not taken is let go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _decide(self, now: float) -> Release | Hold:
        return self._policy.decide(
            now=now,
            waiting=len(self._queue),
            oldest=self._queue[0].arrived,
            gap_s=self._rate.gap_s(now),
            last=self._rate.last,
            cost=self._model.cost,
        )
