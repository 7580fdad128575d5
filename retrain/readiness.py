"""Whether a job may begin: enough new labels of each class, or why not yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from retrain.jobs import JobRequest
from retrain.ledger import Ledger
from retrain.selection import select
from stream.settings import RetrainSettings


@dataclass(frozen=True, slots=True)
class Readiness:
    """What there is to learn from.

    Attributes:
        ready: Whether the job may begin.
        overdue: Whether it has waited too long.
        reason: In words.
        figures: Labels that count, by class.
    """

    ready: bool
    overdue: bool
    reason: str
    figures: dict[str, float]


def readiness(request: JobRequest, ledger: Ledger, settings: RetrainSettings, now: datetime) -> Readiness:
    """Counts the labels that the job would learn from: those that count, of uploads judged since its window began."""
    since = request.since.timestamp() if request.since else 0.0
    chosen = select(ledger.labelled(since=since), most=settings.most_pictures).chosen
    found = Counter(one.label for one in chosen)
    real, fake = found["authentic"], found["ai_generated"]
    needed = min(settings.labels, settings.most_pictures // 2)
    figures = {"labels_authentic": float(real), "labels_machine_made": float(fake), "labels_needed": float(needed)}
    ready = min(real, fake) >= needed
    waited = (now - request.at).total_seconds()
    period = f"since {request.since:%Y-%m-%d %H:%M:%S}" if request.since else "in all"
    reason = f"{real} authentic and {fake} machine-made labels {period}; {needed} of each are asked for"
    overdue = not ready and waited >= settings.labels_s
    return Readiness(ready, overdue, f"{reason}, and none came for too long" if overdue else reason, figures)
