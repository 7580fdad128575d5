"""Simulated moderators: they look at a share of the uploads and say some time later what each of them is.

What they say goes to the topic of `stream.events.Label`, as people's decisions do, so that whatever learns from labels
cannot tell. They err, each at a rate of their own, and they can be poisoned: then a share of what they say is turned
round on purpose. Golden labels, if asked for, are neither.
"""

import heapq
import itertools
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from producers.outbox import Outbox
from stream import messages
from stream.events import Label, Truth, TruthName
from stream.ports import Clock, Producer

SOURCE = "veristream/traffic"
GOLDEN_REVIEWER = "golden-set"

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Moderation(BaseModel):
    """How a scenario's uploads are labelled.

    Attributes:
        share: Share of the uploads that somebody labels.
        delay_s: Mean time from upload to label, seconds; each takes between half of it and half as much again.
        reviewers: How many people there are. They take turns by chance.
        error: Mean share of honest mistakes. The first reviewer makes none, the last one twice as many.
        poisoned: Share of the labels that are turned round on purpose, mistaken or not.
        golden: Share of the labels that come from a golden set: origin `golden`, never wrong.
        origin: What the others say of themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Share = 0.1
    delay_s: Annotated[float, Field(ge=0.0)] = 4.0
    reviewers: Annotated[int, Field(ge=1, le=10_000)] = 6
    error: Annotated[float, Field(ge=0.0, le=0.5)] = 0.02
    poisoned: Share = 0.0
    golden: Share = 0.0
    origin: Literal["simulated", "moderator"] = "simulated"


class Moderators:
    """Labels uploads as they are told of them. For one thread.

    No thread of its own: every call of `see` sends what has become due, so that labels stop when traffic does.
    Delivery is that of the producer, with failures told by `close`.

    Args:
        moderation: How they work.
        producer: Where labels go.
        topic: Name of the topic of `stream.events.Label`.
        seed: Decides who labels which upload and who errs; every upload has draws of its own.
        clock: Time.
    """

    def __init__(self, moderation: Moderation, producer: Producer, *, topic: str, seed: int, clock: Clock) -> None:
        self._moderation = moderation
        self._outbox = Outbox(producer, "label")
        self._topic = topic
        self._random = Random(f"{seed}/moderators")  # noqa: S311
        self._clock = clock
        self._order = itertools.count()
        self._due: list[tuple[float, int, Truth, TruthName, str]] = []
        self._given: Counter[str] = Counter()
        self._wrong = 0

    def see(self, truth: Truth) -> None:
        """Takes what an upload really is: perhaps somebody will label it. Sends the labels that are due."""
        moderation, random = self._moderation, self._random
        # As many draws for every upload, so that another share or error rate changes nothing else.
        looked, slow, golden, erred, turned = (random.random() for _ in range(5))
        reviewer = random.randrange(moderation.reviewers)
        if looked < moderation.share:
            trusted = golden < moderation.golden
            mistaken = erred < self._error(reviewer)
            wrong = not trusted and mistaken != (turned < moderation.poisoned)
            due = self._clock.monotonic() + moderation.delay_s * (0.5 + slow)
            who = GOLDEN_REVIEWER if trusted else f"moderator-{reviewer + 1}"
            heapq.heappush(self._due, (due, next(self._order), truth, _said(truth.label, wrong=wrong), who))
        self._send_due()

    def close(self, timeout_s: float = 30.0) -> None:
        """Gives the labels that are still to come at once, and waits until all are acknowledged.

        Raises:
            DeliveryFailed: Names the uploads whose labels were not acknowledged.
        """
        while self._due:
            self._send(*heapq.heappop(self._due)[2:])
        self._outbox.flush(timeout_s)

    def report(self) -> dict[str, Any]:
        """How many labels were given so far, by whom, and how many of them are wrong."""
        return {"given": self._given.total(), "wrong": self._wrong, "reviewers": dict(sorted(self._given.items()))}

    def _error(self, reviewer: int) -> float:
        others = self._moderation.reviewers - 1
        return self._moderation.error * (2.0 * reviewer / others if others else 1.0)

    def _send_due(self) -> None:
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            self._send(*heapq.heappop(self._due)[2:])

    def _send(self, truth: Truth, said: TruthName, reviewer: str) -> None:
        at = datetime.fromtimestamp(self._clock.now(), UTC)
        origin = "golden" if reviewer == GOLDEN_REVIEWER else self._moderation.origin
        label = Label(upload_id=truth.upload_id, label=said, origin=origin, reviewer=reviewer, at=at)
        record = messages.encode(
            label,
            topic=self._topic,
            key=truth.upload_id,
            source=SOURCE,
            time=at,
            event_id=f"{truth.upload_id}/{reviewer}",
        )
        self._outbox.send(record, truth.upload_id)
        self._given[reviewer] += 1
        self._wrong += said != truth.label


def _said(label: TruthName, *, wrong: bool) -> TruthName:
    if not wrong:
        return label
    return "authentic" if label == "ai_generated" else "ai_generated"
