"""Truths and verdicts for the tests of this package."""

from datetime import UTC, datetime, timedelta

from stream.events import ImageFacts, ModelRef, ThresholdIds, Timings, Truth, Verdict

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


def truth(upload_id, label="authentic", *, family="camera", persona="casual", tier="clean", phase="steady"):
    return Truth(
        upload_id=upload_id, label=label, family=family, persona=persona, tier=tier, phase=phase, sent_at=START
    )


def verdict(upload_id, said="authentic", p_ai=0.1, latency_ms=100.0):
    return Verdict(
        upload_id=upload_id,
        verdict=said,
        p_ai=p_ai,
        thresholds=ThresholdIds(authentic_below="low", ai_above="high"),
        model=ModelRef(name="m", version="1", digest="d", provider="CPU", precision="fp32"),
        image=ImageFacts(sha256="a" * 64, media_type="image/jpeg", width=8, height=8),
        timings_ms=Timings(queue=1, fetch=1, decode=1, infer=1, total=latency_ms),
        occurred_at=START,
        decided_at=START + timedelta(milliseconds=latency_ms),
    )
