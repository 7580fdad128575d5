"""Truths and verdicts for the tests of this package."""

from datetime import datetime

from stream.events import ImageFacts, ModelRef, ThresholdIds, Timings, Truth, Verdict

DIGEST = "ab" * 32


def truth(upload_id: str, *, at: datetime, label="ai_generated", family="nearest", phase="steady") -> Truth:
    """What a generator would say."""
    return Truth(
        upload_id=upload_id, label=label, family=family, persona="casual", tier="clean", phase=phase, sent_at=at
    )


def verdict(upload_id: str, *, at: datetime, decided: datetime | None = None, says="ai_generated", p_ai=0.9) -> Verdict:
    """What a worker would say."""
    return Verdict(
        upload_id=upload_id,
        verdict=says,
        p_ai=p_ai,
        thresholds=ThresholdIds(authentic_below="low", ai_above="high"),
        model=ModelRef(name="tiny", version="1", digest=DIGEST, provider="CPUExecutionProvider", precision="fp32"),
        image=ImageFacts(sha256=DIGEST, media_type="image/jpeg", width=8, height=8),
        timings_ms=Timings(queue=1, fetch=1, decode=1, infer=1, total=4),
        occurred_at=at,
        decided_at=decided or at,
    )
