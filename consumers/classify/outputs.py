"""What the worker says: verdict and embedding for an upload that was judged, a dead letter for one that was not."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from consumers.classify.cache import Answer
from consumers.classify.stages import Failed, Judged, Recalled
from stream import deadletter, embeddings, messages
from stream.embeddings import Embedding
from stream.events import Arm, Evidence, Timings, Verdict
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
        self._clock = clock
        self._source = f"{SOURCE}/{worker_id}"

    def judged(self, judged: Judged, answer: Answer) -> Said:
        """Verdict and embedding of a picture that a model has just judged."""
        prepared = judged.prepared
        return self._say(
            prepared.upload,
            answer,
            judged.score.embedding,
            arm=prepared.serving.arm,
            fetch_ms=prepared.fetch_ms,
            decode_ms=prepared.decode_ms,
            infer_ms=judged.infer_ms,
        )

    def recalled(self, recalled: Recalled) -> Said:
        """Verdict and embedding of a picture that the same model has judged before."""
        seen = Evidence(kind="cache", detail="The same bytes were judged before by the same model")
        return self._say(
            recalled.fetched.upload,
            recalled.answer.model_copy(update={"evidence": (*recalled.answer.evidence, seen)}),
            recalled.embedding,
            arm=recalled.serving.arm,
            fetch_ms=recalled.fetched.fetch_ms,
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

    def _say(
        self,
        upload: Upload,
        answer: Answer,
        embedding: NDArray[np.float16],
        *,
        arm: Arm,
        fetch_ms: float,
        decode_ms: float,
        infer_ms: float,
    ) -> Said:
        decided_at = self._now()
        # Clocks of producers and workers differ; a verdict is never said to have come before its upload.
        total_ms = max((decided_at - upload.occurred_at).total_seconds() * 1000, fetch_ms + decode_ms + infer_ms)
        verdict = Verdict(
            upload_id=upload.id,
            tenant=upload.tenant,
            verdict=answer.verdict,
            p_ai=answer.p_ai,
            thresholds=answer.thresholds,
            evidence=answer.evidence,
            generator=answer.generator,
            model=answer.model,
            arm=arm,
            image=answer.image,
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
        seen = Embedding(
            upload_id=upload.id,
            vector=embedding,
            model_digest=answer.model.digest,
            score=answer.p_ai,
            tenant=upload.tenant,
            at=decided_at,
            traceparent=upload.traceparent,
        )
        said = messages.encode(
            verdict,
            topic=self._verdicts,
            key=upload.id,
            source=self._source,
            time=decided_at,
            traceparent=upload.traceparent,
        )
        return Said(verdict, (said, embeddings.encode(seen, topic=self._embeddings, source=self._source)))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)


def answer_of(judged: Judged) -> Answer:
    """What a model's score says, with the most suspicious place in the picture as evidence."""
    prepared, score = judged.prepared, judged.score
    image, scorer = prepared.image, prepared.serving.scorer
    worst = int(np.argmax(score.crop_logits))
    crops = len(score.crop_logits)
    evidence = (
        Evidence(kind="classifier", detail=f"{crops} crops at native resolution, judged together", score=score.p_ai),
        Evidence(
            kind="crop",
            detail=f"The most suspicious of {crops}: logit {score.crop_logits[worst]:+.2f}, all {score.logit:+.2f}",
            box=scorer.boxes(image.width, image.height)[worst],
        ),
    )
    return Answer(
        verdict=score.verdict,
        p_ai=score.p_ai,
        thresholds=scorer.thresholds,
        evidence=evidence,
        model=prepared.serving.ref,
        image=image,
    )
