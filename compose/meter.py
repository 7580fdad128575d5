"""What was sent, what came back and when: the one ledger behind the dashboard, the demo and the stress test."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import median
from typing import Any, NamedTuple, Protocol

from compose.snapshot import Percentiles, VerdictLine
from producers.traffic.evaluation import Evaluation
from stream.events import ModelRef, Truth, Verdict

_SECONDS_KEPT = 240
_RECENT = 1000
_LINES = 64
_WAIT_S = 0.1


class Histories(NamedTuple):
    """One number for each whole second, oldest first; the median is 0 where there was no verdict."""

    uploads: tuple[float, ...]
    verdicts: tuple[float, ...]
    median_ms: tuple[float, ...]


class Listener(Protocol):
    """Who is told of uploads and of what was said of them, each once; called with the meter's lock held."""

    def sent(self, truth: Truth) -> None:
        """An upload was handed over."""
        ...

    def judged(self, truth: Truth, verdict: Verdict) -> None:
        """Its first verdict arrived."""
        ...


class _Second:
    """What happened within one second."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.uploads = 0
        self.latencies: list[float] = []
        self._median: float | None = None

    def median_ms(self) -> float:
        """Asked only once the second is over, so that it is worked out once."""
        if self._median is None:
            self._median = median(self.latencies) if self.latencies else 0.0
        return self._median


class Meter:
    """Counts one run. Thread-safe: uploads, verdicts and dead letters come from different threads, in any order.

    An upload is outstanding while it has neither a verdict nor a dead letter; what is outstanding at the end is lost.
    Latency runs from the event's time of occurrence until its verdict was in a read-committed reader's hands.

    Args:
        monotonic: Clock for the histories, seconds.
        listeners: Told of every upload and of its first verdict.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, *, listeners: Sequence[Listener] = ()) -> None:
        self._monotonic = monotonic
        self._listeners = tuple(listeners)
        self._begun = monotonic()
        self._changed = threading.Condition()
        self._evaluation = Evaluation()
        self._waiting: dict[str, Truth] = {}
        self._early: dict[str, tuple[Verdict, float] | None] = {}
        self._sent = 0
        self._dead = 0
        self._first_sent: datetime | None = None
        self._last_seen: datetime | None = None
        self._seconds: deque[_Second] = deque([_Second(0)], maxlen=_SECONDS_KEPT)
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self._lines: deque[VerdictLine] = deque(maxlen=_LINES)
        self._model: ModelRef | None = None
        self._phase = ""

    def sent(self, truth: Truth) -> None:
        """Takes the truth about an upload that was handed over."""
        with self._changed:
            self._sent += 1
            self._second().uploads += 1
            self._first_sent = self._first_sent or truth.sent_at
            self._phase = truth.phase
            self._evaluation.truth(truth)
            for listener in self._listeners:
                listener.sent(truth)
            if truth.upload_id not in self._early:
                self._waiting[truth.upload_id] = truth
                return
            early = self._early.pop(truth.upload_id)
            if early is not None:
                self._tell(truth, *early)
            self._changed.notify_all()

    def judged(self, verdict: Verdict, seen_at: datetime) -> None:
        """Takes a verdict that a reader got at ``seen_at``."""
        with self._changed:
            self._evaluation.verdict(verdict, seen_at=seen_at)
            latency = (seen_at - verdict.occurred_at).total_seconds() * 1000
            self._second().latencies.append(latency)
            self._recent_ms.append(latency)
            self._last_seen = seen_at
            self._model = verdict.model
            self._settle(verdict.upload_id, (verdict, latency))

    def died(self, upload_id: str) -> None:
        """Takes a dead letter."""
        with self._changed:
            self._dead += 1
            self._settle(upload_id, None)

    def wait_outstanding(self, at_most: int, timeout_s: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Waits until no more than this many uploads are outstanding; returns whether that is so."""
        give_up = time.monotonic() + timeout_s
        with self._changed:
            while len(self._waiting) > at_most:
                left = give_up - time.monotonic()
                if left <= 0 or stop():
                    return False
                self._changed.wait(min(left, _WAIT_S))
            return True

    @property
    def elapsed_s(self) -> float:
        """Since this meter was made."""
        return self._monotonic() - self._begun

    @property
    def uploads(self) -> int:
        """Uploads sent."""
        with self._changed:
            return self._sent

    @property
    def outstanding(self) -> int:
        """Uploads with neither a verdict nor a dead letter."""
        with self._changed:
            return len(self._waiting)

    @property
    def dead(self) -> int:
        """Dead letters."""
        with self._changed:
            return self._dead

    @property
    def model(self) -> ModelRef | None:
        """The model that gave the last verdict."""
        with self._changed:
            return self._model

    @property
    def phase(self) -> str:
        """The scenario's phase that the last upload belongs to."""
        with self._changed:
            return self._phase

    def score(self) -> dict[str, Any]:
        """The evaluation's report, with ``lost``, ``dlq`` and ``images_per_s`` as this class defines them.

        ``images_per_s`` is verdicts over the time from the first upload's event to the last verdict's arrival.
        """
        with self._changed:
            report = self._evaluation.report()
            span = (self._last_seen - self._first_sent).total_seconds() if self._last_seen and self._first_sent else 0.0
            rate = round(report["verdicts"] / span, 2) if span > 0 else 0.0
            return {**report, "lost": len(self._waiting), "dlq": self._dead, "images_per_s": rate, "seconds": span}

    def recent_latency(self) -> Percentiles | None:
        """Percentiles (nearest rank) of the last thousand latencies; None before the first verdict."""
        with self._changed:
            ordered = sorted(self._recent_ms)
        if not ordered:
            return None
        p50, p95, p99 = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95, 0.99))
        return Percentiles(p50, p95, p99)

    def last_verdicts(self) -> tuple[VerdictLine, ...]:
        """The newest first."""
        with self._changed:
            return tuple(reversed(self._lines))

    def histories(self) -> Histories:
        """The last few minutes, without the second that is still under way."""
        with self._changed:
            self._second()
            over = [second for second in self._seconds if second is not self._seconds[-1]]
            return Histories(
                tuple(float(second.uploads) for second in over),
                tuple(float(len(second.latencies)) for second in over),
                tuple(second.median_ms() for second in over),
            )

    def _settle(self, upload_id: str, judged: tuple[Verdict, float] | None) -> None:
        truth = self._waiting.pop(upload_id, None)
        if truth is None:
            # Either its truth is still on the way from the sending thread, or this is a second verdict: the evaluation
            # knows, and forgets neither.
            self._early[upload_id] = judged
            while len(self._early) > _RECENT:
                self._early.pop(next(iter(self._early)))
        elif judged is not None:
            self._tell(truth, *judged)
        self._changed.notify_all()

    def _tell(self, truth: Truth, verdict: Verdict, latency: float) -> None:
        self._lines.append(
            VerdictLine(verdict.upload_id, verdict.verdict, verdict.p_ai, truth.label, truth.family, latency)
        )
        for listener in self._listeners:
            listener.judged(truth, verdict)

    def _second(self) -> _Second:
        """The present second; those in which nothing happened are filled in."""
        number = int(self._monotonic() - self._begun)
        first = max(self._seconds[-1].number + 1, number - _SECONDS_KEPT)
        self._seconds.extend(_Second(missing) for missing in range(first, number + 1))
        return self._seconds[-1]
