"""What becomes of an upload in the end: a verdict or a dead letter, counted by the breaker and handed to the loop."""

from collections.abc import Sequence
from typing import Protocol

from consumers.classify.answers import answer_of
from consumers.classify.attempts import foreseen
from consumers.classify.memory import Memory
from consumers.classify.outputs import Said, Speaker
from consumers.classify.stages import Failed, Judged, Recalled
from stream.deadletter import Breaker
from stream.errors import VeristreamError
from stream.records import Outgoing, Record
from stream.telemetry import Metrics

Reached = Judged | Recalled | Failed


class Loop(Protocol):
    """Who handed the records over and takes their answers; see `stream.loop.ConsumeLoop`."""

    def complete(self, record: Record, outputs: Sequence[Outgoing]) -> None:
        """Answers an accepted record."""
        ...


class Conclusion:
    """Answers uploads. For one thread, so that the breaker sees outcomes in one order.

    Args:
        loop: Who takes the answers.
        speaker: Who writes them.
        breaker: Who counts failures.
        memory: Who remembers verdicts.
        metrics: Who counts everything.
    """

    def __init__(self, loop: Loop, speaker: Speaker, breaker: Breaker, memory: Memory, metrics: Metrics) -> None:
        self._loop = loop
        self._speaker = speaker
        self._breaker = breaker
        self._memory = memory
        self._metrics = metrics

    def reach(self, reached: Reached) -> None:
        """Answers one upload.

        Raises:
            BreakerOpen: Too many died; this one stays unanswered in the topic.
        """
        if isinstance(reached, Failed):
            self._bury(reached)
            return
        record = reached.record
        try:
            with foreseen("writing the verdict", record.place):
                said = self._said(reached)
        except VeristreamError as error:
            self._bury(Failed(record, error, "verdict", 1, reached.model_digest))
            return
        self._breaker.ok()
        self._metrics.verdict(said.verdict)
        self._loop.complete(record, said.outputs)

    def _said(self, reached: Judged | Recalled) -> Said:
        if isinstance(reached, Recalled):
            return self._speaker.recalled(reached)
        prepared, score = reached.prepared, reached.score
        answer = answer_of(prepared.image, prepared.model, score)
        said = self._speaker.judged(reached, answer)
        self._memory.remember(answer, score.embedding)
        if (opinion := reached.opinion) is not None:
            self._memory.remember(opinion.answer, opinion.embedding)
        return said

    def _bury(self, failed: Failed) -> None:
        self._breaker.dead()
        letter = self._speaker.failed(failed)
        self._metrics.dead_letter(failed.error)
        self._loop.complete(failed.record, (letter,))
