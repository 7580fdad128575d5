"""Hearing the shadow: a model on trial that is asked about the champion's pictures and that no verdict depends on.

It has threads of its own, and what it says goes out in the verdict's own transaction. It costs no verdict: where it
fails, its opinion is missing; where it takes longer than the worker's patience, the verdict goes without. What waits is
bounded at the worker's door, so a shadow that is slower than the traffic is heard for as many as it can keep up with.
Each picture that it was to be asked about is counted as heard, failed or late.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby

from consumers.classify.answers import answer_of
from consumers.classify.attempts import foreseen
from consumers.classify.inbox import Inbox
from consumers.classify.slots import Model
from consumers.classify.stages import Judged, Opinion, Sitting
from models.decode import Picture
from stream.errors import VeristreamError
from stream.telemetry import Metrics
from stream.telemetry.metrics import Outcome

# Enough that an accelerator is used well, and so few that on a CPU they are heard within the patience.
_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class _Asked:
    """A picture the champion has judged, the same as the shadow sees it, and how long its verdict waits."""

    judged: Judged
    sitting: Sitting
    until: float


class Shadow:
    """Adds the shadow's opinion to what the champion judged.

    Args:
        patience_s: How long a verdict waits at most, seconds.
        answered: Takes each picture once, with the opinion or without; from any thread.
        metrics: Who counts.
    """

    def __init__(self, *, patience_s: float, answered: Callable[[Judged], None], metrics: Metrics) -> None:
        self._patience_s = patience_s
        self._answered = answered
        self._metrics = metrics
        self._waiting: Inbox[_Asked] = Inbox()
        self._device = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._overdue: Future[list[Opinion]] | None = None

    def close(self) -> None:
        """Lets `listen` end after what waits."""
        self._waiting.close()

    def seat(self, model: Model, picture: Picture, where: str) -> Sitting | None:
        """Cuts a picture for the shadow; None, and counted, when it fails."""
        try:
            with foreseen("the shadow's cutting", where):
                return Sitting(model, model.scorer.prepare(picture))
        except VeristreamError as error:
            self._metrics.model_failed("shadow", error)
            self._metrics.opinions("failed", 1)
            return None

    def ask(self, judged: Judged, sitting: Sitting) -> None:
        """Takes a picture over; never waits."""
        if self._is_stuck():
            self._answer("late", [judged])
        else:
            self._waiting.put(_Asked(judged, sitting, time.monotonic() + self._patience_s))

    def listen(self) -> None:
        """Hears and answers until `close`, in a thread of the caller's; then waits for the batch that runs."""
        try:
            for together in self._waiting.batches(_TOGETHER):
                self._hear_all(together)
        finally:
            self._device.shutdown(cancel_futures=True)

    def _hear_all(self, together: Sequence[_Asked]) -> None:
        for model, asked in groupby(together, key=lambda each: each.sitting.model):
            self._hear(model, list(asked))

    def _hear(self, model: Model, asked: Sequence[_Asked]) -> None:
        judged = [each.judged for each in asked]
        patience_s = asked[0].until - time.monotonic()
        if self._is_stuck() or patience_s <= 0:
            self._answer("late", judged)
            return
        heard = self._device.submit(self._opinions, model, asked)
        try:
            opinions = heard.result(patience_s)
        except TimeoutError:
            # One that has not begun is spared; one that runs is let run, and nothing is asked until it has ended.
            self._overdue = None if heard.cancel() else heard
            self._answer("late", judged)
        except VeristreamError as error:
            self._metrics.model_failed("shadow", error, pictures=len(judged))
            self._answer("failed", judged)
        else:
            self._answer("heard", [replace(each, opinion=said) for each, said in zip(judged, opinions, strict=True)])

    def _opinions(self, model: Model, asked: Sequence[_Asked]) -> list[Opinion]:
        with foreseen("the shadow's inference", model.ref.digest):
            begun = time.perf_counter()
            scores = model.scorer.predict([each.sitting.crops for each in asked])
            seconds = time.perf_counter() - begun
            self._metrics.inferred("shadow", seconds)
            each_ms = seconds * 1000 / len(asked)
            return [
                Opinion(
                    answer_of(each.judged.prepared.image, model, score), score.embedding, each_ms, each.judged.each_ms
                )
                for each, score in zip(asked, scores, strict=True)
            ]

    def _is_stuck(self) -> bool:
        return self._overdue is not None and not self._overdue.done()

    def _answer(self, outcome: Outcome, batch: Sequence[Judged]) -> None:
        self._metrics.opinions(outcome, len(batch))
        for judged in batch:
            self._answered(judged)
