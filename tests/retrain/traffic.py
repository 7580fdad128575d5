"""Made-up traffic for rollouts: what two models of stated worth say of uploads, and what people say later."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stream.arms import position
from stream.events import ImageFacts, Label, ModelRef, ShadowVerdict, ThresholdIds, Timings, TruthName, Verdict

CHAMPION, CHALLENGER = "c" * 64, "d" * 64
START = datetime(2026, 11, 21, tzinfo=UTC)
_IMAGE = ImageFacts(sha256="0" * 64, media_type="image/png", width=1, height=1)
_THRESHOLDS = ThresholdIds(authentic_below="low", ai_above="high")


def model(digest: str) -> ModelRef:
    return ModelRef(name="m", version="1", digest=digest, provider="CPU", precision="fp32")


def verdict(
    upload_id: str, digest: str, p_ai: float, at: datetime = START, *, infer: float = 0.0, tenant: str = "default"
) -> Verdict:
    """What a model says, `uncertain` never."""
    return Verdict(
        upload_id=upload_id,
        tenant=tenant,
        verdict="ai_generated" if p_ai >= 0.5 else "authentic",
        p_ai=p_ai,
        thresholds=_THRESHOLDS,
        model=model(digest),
        arm="challenger" if digest == CHALLENGER else "champion",
        image=_IMAGE,
        timings_ms=Timings(queue=0, fetch=0, decode=0, infer=infer, total=infer),
        occurred_at=at,
        decided_at=at,
    )


def shadow(
    upload_id: str,
    champion: float,
    challenger: float,
    at: datetime = START,
    *,
    infer: float = 0.0,
    by: str = CHALLENGER,
) -> ShadowVerdict:
    """What both say of an upload the champion speaks for."""
    return ShadowVerdict(
        upload_id=upload_id,
        verdict="ai_generated" if challenger >= 0.5 else "authentic",
        p_ai=challenger,
        model=model(by),
        infer_ms=infer,
        champion_verdict="ai_generated" if champion >= 0.5 else "authentic",
        champion_p_ai=champion,
        champion_digest=CHAMPION,
        champion_infer_ms=10.0 if infer else 0.0,
        decided_at=at,
    )


def label(upload_id: str, truth: TruthName, *, origin: str = "moderator", reviewer: str = "r") -> Label:
    return Label(upload_id=upload_id, label=truth, origin=origin, reviewer=reviewer, at=START)


@dataclass(frozen=True)
class Worth:
    """Chances on one upload: only the challenger errs, only the champion errs, both do."""

    challenger: float
    champion: float
    both: float


def uploads(
    worth: Worth, seed: int, start: datetime = START
) -> Iterator[tuple[str, TruthName, float, float, datetime]]:
    """Upload id, truth, champion's and challenger's score, and when; half of them machine-made, ten a second."""
    rng, number = random.Random(seed), 0
    while True:
        number += 1
        truth: TruthName = "ai_generated" if rng.random() < 0.5 else "authentic"
        lot = rng.random()
        both = lot < worth.both
        champion = both or lot < worth.both + worth.champion
        challenger = both or worth.both + worth.champion <= lot < worth.both + worth.champion + worth.challenger
        right = 0.9 if truth == "ai_generated" else 0.1
        at = start + timedelta(seconds=number / 10)
        yield f"u-{seed}-{number}", truth, 1 - right if champion else right, 1 - right if challenger else right, at


def takes(upload_id: str, share: float) -> bool:
    """Whether the challenger speaks for an upload."""
    return position(upload_id, CHALLENGER) < share
