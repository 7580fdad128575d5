"""Plays a plan in real time: hands each picture to the producer when it is due, and the truth to its own topic.

Send times come from the plan, not from the end of the last send, so the schedule does not drift. A run that falls
behind sends at once until it has caught up; how late each upload was is part of the summary. An upload's time of
occurrence is when it was really handed over, so that the generator's own delay is never counted as the detector's.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from producers.outbox import Outbox
from producers.traffic.latencies import Latencies
from producers.traffic.pictures import Pictures, Subject
from producers.traffic.plan import Planned
from producers.upload import UploadProducer
from stream import messages
from stream.events import Truth, TruthName
from stream.ports import Clock, Producer

SOURCE = "veristream/traffic"


@dataclass
class RunSummary:
    """What a run sent.

    Attributes:
        sent: Uploads handed to the producer.
        seconds: From the run's start to the last hand-over.
        lag: How late uploads were handed over, against the plan.
        labels: Uploads by label.
        families: Uploads by family, photographs' included.
        personas: Uploads by persona.
        tiers: Uploads by delivery tier.
        phases: Uploads by phase.
        repeats: Uploads by `fresh`, `again` and `copy`.
        bytes: Of all pictures.
    """

    sent: int = 0
    seconds: float = 0.0
    bytes: int = 0
    lag: Latencies = field(default_factory=Latencies)
    labels: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    personas: Counter[str] = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Uploads per second that were really handed over."""
        return self.sent / self.seconds if self.seconds else 0.0

    def report(self) -> dict[str, Any]:
        """The summary for JSON; times in milliseconds unless they say seconds."""
        counters = ("labels", "families", "personas", "tiers", "phases", "repeats")
        return {
            "sent": self.sent,
            "seconds": round(self.seconds, 3),
            "uploads_per_s": round(self.rate, 2),
            "bytes": self.bytes,
            "lag_ms": self.lag.report(),
            **{name: dict(sorted(getattr(self, name).items())) for name in counters},
        }


class TrafficGenerator:
    """Sends the uploads of a plan.

    Args:
        uploads: Where uploads go.
        truths: Where the truth about them goes.
        pictures: Where pictures come from.
        truth_topic: Name of the topic of `stream.events.Truth`, which no worker reads.
        seed: Decides which pictures are drawn and how they are cropped.
        clock: Time.
    """

    def __init__(
        self,
        uploads: UploadProducer,
        truths: Producer,
        pictures: Pictures,
        *,
        truth_topic: str,
        seed: int,
        clock: Clock,
    ) -> None:
        self._uploads = uploads
        self._truths = Outbox(truths, "truth")
        self._pictures = pictures
        self._truth_topic = truth_topic
        self._random = Random(f"{seed}/pictures")  # noqa: S311
        self._clock = clock
        self._last: dict[tuple[str, TruthName], tuple[Subject, str, bytes]] = {}

    def run(
        self,
        plan: Iterable[Planned],
        *,
        stop: threading.Event | None = None,
        on_truth: Callable[[Truth], None] | None = None,
        flush_s: float = 30.0,
    ) -> RunSummary:
        """Plays the plan to its end, or until ``stop`` is set, and waits for Kafka to acknowledge everything.

        Args:
            plan: What to send; limit it with `itertools`, an endless one runs until it is stopped.
            stop: Ends the run within a moment.
            on_truth: Called with every truth after its upload was handed over, on this thread.
            flush_s: How long to wait for acknowledgements at the end, seconds.

        Raises:
            DeliveryFailed: Uploads or truths were not acknowledged.
            VeristreamError: An upload could not be packed or queued, or a picture could not be had.
        """
        stop = stop or threading.Event()
        summary = RunSummary()
        start = self._clock.monotonic()
        for planned in plan:
            subject, tier, data = self._take(planned)
            if stop.wait(max(0.0, start + planned.at_s - self._clock.monotonic())):
                break
            truth = self._send(planned, subject, tier, data)
            summary.seconds = self._clock.monotonic() - start
            _count(summary, planned, truth, len(data))
            if on_truth is not None:
                on_truth(truth)
        self._uploads.flush(flush_s)
        self._truths.flush(flush_s)
        return summary

    def _take(self, planned: Planned) -> tuple[Subject, str, bytes]:
        key = (planned.post.persona, planned.label)
        last = self._last.get(key)
        if last is None or planned.post.repeat == "fresh":
            subject = self._pictures.subject(planned.label, planned.family, self._random)
        elif planned.post.repeat == "copy":
            return last
        else:
            subject = last[0]
        taken = (subject, planned.tier, self._pictures.shoot(subject, planned.tier, self._random))
        self._last[key] = taken
        return taken

    def _send(self, planned: Planned, subject: Subject, tier: str, data: bytes) -> Truth:
        at = datetime.fromtimestamp(self._clock.now(), UTC)
        upload_id = self._uploads.send(data, uploader=planned.post.uploader, occurred_at=at)
        truth = Truth(
            upload_id=upload_id,
            label=planned.label,
            family=subject.family,
            persona=planned.post.persona,
            tier=tier,
            phase=planned.phase,
            sent_at=at,
        )
        record = messages.encode(truth, topic=self._truth_topic, key=upload_id, source=SOURCE, time=at)
        self._truths.send(record, upload_id)
        return truth


def _count(summary: RunSummary, planned: Planned, truth: Truth, size: int) -> None:
    summary.sent += 1
    summary.bytes += size
    summary.lag.add((summary.seconds - planned.at_s) * 1000.0)
    summary.labels[truth.label] += 1
    summary.families[truth.family] += 1
    summary.personas[truth.persona] += 1
    summary.tiers[truth.tier] += 1
    summary.phases[truth.phase] += 1
    summary.repeats[planned.post.repeat] += 1


def limited(
    plan: Iterable[Planned], *, events: int | None = None, duration_s: float | None = None
) -> Iterable[Planned]:
    """The plan up to a number of uploads or a time, whichever comes first."""
    for number, planned in enumerate(plan):
        if (events is not None and number >= events) or (duration_s is not None and planned.at_s >= duration_s):
            return
        yield planned
