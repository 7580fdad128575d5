"""What the worker says: verdict and embedding for an upload that was judged, a dead letter for one that was not.

Where the shadow was heard, its opinion and its embedding are said with them, in the same transaction.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from consumers.classify.cache import Answer
from consumers.classify.stages import Arrival, Failed, Judged, Opinion, Recalled
from stream import deadletter, embeddings, messages
from stream.embeddings import Embedding
from stream.events import Arm, Event, Evidence, Position, ShadowVerdict, Timings, Verdict
from stream.ports import Clock
from stream.records import Outgoing
from stream.settings import TopicSettings
from stream.topics import dead_letters, layout
from stream.uploads import Upload

SOURCE = "veristream/classify"


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict, and the records that carry it and its embedding."""

    verdict: Verdict
    outputs: tuple[Outgoing, ...]


class Speaker:
    """Writes answers as records.

    Args:
        topics: How topics are named.
        clock: Time; its `now` is when a verdict was decided.
        worker_id: Which worker speaks; ends up in the events' source.
    """

    def __init__(self, topics: TopicSettings, clock: Clock, *, worker_id: str) -> None:
        names = layout(topics)
        self._verdicts, self._embeddings = names["verdicts"].name, names["embeddings"].name
        self._opinions = names["verdicts.shadow"].name
        self._clock = clock
        self._source = f"{SOURCE}/{worker_id}"

    def judged(self, judged: Judged, answer: Answer) -> Said:
        """Verdict and embedding of a picture that a model has just judged."""
        prepared = judged.prepared
        return self._say(
            _Case(prepared.upload, prepared.arrival, prepared.arm, answer, judged.score.embedding, judged.opinion),
            fetch_ms=prepared.fetch_ms,
            decode_ms=prepared.decode_ms,
            infer_ms=judged.infer_ms,
        )

    def recalled(self, recalled: Recalled) -> Said:
        """Verdict and embedding of a picture that the same model has judged before."""
        seen = Evidence(kind="cache", detail="The same bytes were judged before by the same model")
        answer = recalled.answer.model_copy(update={"evidence": (*recalled.answer.evidence, seen)})
        fetched = recalled.fetched
        return self._say(
            _Case(fetched.upload, fetched.arrival, recalled.turn.arm, answer, recalled.embedding, recalled.opinion),
            fetch_ms=fetched.fetch_ms,
            decode_ms=0.0,
            infer_ms=0.0,
        )

    def failed(self, failed: Failed) -> Outgoing:
        """The dead letter."""
        return deadletter.letter(
            failed.record,
            failed.error,
            stage=failed.stage,
            attempts=failed.attempts,
            model_digest=failed.model_digest,
            topic=dead_letters(failed.record.topic),
            at=self._now(),
        )

    def _say(self, case: "_Case", *, fetch_ms: float, decode_ms: float, infer_ms: float) -> Said:
        decided_at = self._now()
        upload, answer, record = case.upload, case.answer, case.arrival.record
        # Clocks of producers and workers differ; a verdict is never said to have come before its upload.
        total_ms = max((decided_at - upload.occurred_at).total_seconds() * 1000, fetch_ms + decode_ms + infer_ms)
        fallback = case.arrival.fallback
        verdict = Verdict(
            upload_id=upload.id,
            tenant=upload.tenant,
            verdict=answer.verdict,
            p_ai=answer.p_ai,
            thresholds=answer.thresholds,
            evidence=(*answer.evidence, Evidence(kind="fallback", detail=fallback)) if fallback else answer.evidence,
            generator=answer.generator,
            model=answer.model,
            arm=case.arm,
            image=answer.image,
            upload_at=Position(topic=record.topic, partition=record.partition, offset=record.offset),
            timings_ms=Timings(
                queue=round(total_ms - fetch_ms - decode_ms - infer_ms, 3),
                fetch=round(fetch_ms, 3),
                decode=round(decode_ms, 3),
                infer=round(infer_ms, 3),
                total=round(total_ms, 3),
            ),
            occurred_at=upload.occurred_at,
            decided_at=decided_at,
        )
        said = [self._event(verdict, self._verdicts, upload, decided_at)]
        said.append(self._seen(upload, answer, case.embedding, decided_at, self._source))
        if case.opinion is not None:
            said += self._overheard(upload, verdict, case.opinion)
        return Said(verdict, tuple(said))

    def _overheard(self, upload: Upload, verdict: Verdict, opinion: Opinion) -> tuple[Outgoing, Outgoing]:
        """What the shadow would have said, and what it saw."""
        answer = opinion.answer
        shadow = ShadowVerdict(
            upload_id=upload.id,
            tenant=upload.tenant,
            verdict=answer.verdict,
            p_ai=answer.p_ai,
            model=answer.model,
            infer_ms=round(opinion.infer_ms, 3),
            champion_verdict=verdict.verdict,
            champion_p_ai=verdict.p_ai,
            champion_digest=verdict.model.digest,
            champion_infer_ms=round(opinion.champion_infer_ms, 3),
            decided_at=verdict.decided_at,
        )
        # A source of its own, since a CloudEvent is named by source and id, and the id is the upload's.
        seen = self._seen(upload, answer, opinion.embedding, verdict.decided_at, f"{self._source}/shadow")
        return self._event(shadow, self._opinions, upload, verdict.decided_at), seen

    def _event(self, event: Event, topic: str, upload: Upload, at: datetime) -> Outgoing:
        return messages.encode(
            event, topic=topic, key=upload.id, source=self._source, time=at, traceparent=upload.traceparent
        )

    def _seen(self, upload: Upload, answer: Answer, vector: NDArray[np.float16], at: datetime, source: str) -> Outgoing:
        seen = Embedding(
            upload_id=upload.id,
            vector=vector,
            model_digest=answer.model.digest,
            score=answer.p_ai,
            tenant=upload.tenant,
            at=at,
            traceparent=upload.traceparent,
        )
        return embeddings.encode(seen, topic=self._embeddings, source=source)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)


@dataclass(frozen=True, slots=True)
class _Case:
    """An upload, and what is to be said of it."""

    upload: Upload
    arrival: Arrival
    arm: Arm
    answer: Answer
    embedding: NDArray[np.float16]
    opinion: Opinion | None
