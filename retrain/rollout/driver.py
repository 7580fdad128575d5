"""Takes a registered challenger through its rollout: the slots, the trial's evidence, the steps.

The slots may be changed by people at any time, and this process may die at any point. So each turn begins by looking at
the slots: what they say has happened, whoever did it, and the job's steps follow. Slots are changed first and the step
is taken afterwards; a death in between is mended by the next look.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from models.slotbook import SlotBook, Slots
from retrain.history import Job
from retrain.metrics import RetrainMetrics
from retrain.rollout.evidence import Limits
from retrain.rollout.feed import TrialFeed
from retrain.rollout.trial import Exposure, Plan, Trial
from retrain.steps import Steps
from stream.settings import RolloutSettings

# What is taken for foreseen where the gate looked at no pictures.
_UNFORESEEN = 0.15
# Fewer labels prove little: bets that must be won sooner are gambles.
_FEWEST_LABELS = 100

RolloutEnd = Literal["promoted", "rolled_back"]
OpenFeed = Callable[[Trial], TrialFeed]


class Rollout:
    """Drives one challenger at a time.

    Args:
        settings: Exposure, shares and limits.
        book: The slots.
        steps: Who takes steps.
        feed: Opens what a trial sees.
        metrics: Who counts.
    """

    def __init__(
        self, settings: RolloutSettings, book: SlotBook, steps: Steps, feed: OpenFeed, metrics: RetrainMetrics
    ) -> None:
        self._settings = settings
        self._book = book
        self._steps = steps
        self._open_feed = feed
        self._metrics = metrics
        self._trial: Trial | None = None
        self._feed: TrialFeed | None = None

    def begin(self, job: Job, now: datetime) -> str:
        """Puts a registered challenger into the shadow's slot; returns why it waits, if it does.

        Raises:
            SlotConflict: Somebody else changed the slots; look again.
            VeristreamError: The store or the topic does not answer.
        """
        digest, slots = _digest(job), self._book.read()
        if (ended := self._overtaken(job, slots)) is not None:
            self._steps.take(job.id, "failed", now, reason=ended)
            return ""
        other = next((held for held in (slots.challenger, slots.shadow) if held and held.digest != digest), None)
        if other is not None:
            return f"another model is on trial: {other.digest[:12]}"
        share = self._settings.shadow_share
        if slots.shadow is None and slots.challenger is None:
            slots = self._book.shadow(digest, share, reason=f"job {job.id}", seen=slots)
        else:
            slots = self._book.republish()
        held = slots.shadow or slots.challenger
        self._steps.take(
            job.id, "shadow", slots.at or now, uri=held.uri if held else None,
            reason=f"asked about {share:.0%} of the uploads, and nobody acts on what it says",
        )  # fmt: skip
        return ""

    def follow(self, job: Job, now: datetime) -> str:
        """Takes in what was seen and does what is to be done; returns where the trial stands, in words.

        Raises:
            SlotConflict: Somebody else changed the slots; look again.
            VeristreamError: The broker, the store or the topic does not answer.
        """
        trial, feed = self._taken_up(job)
        feed.poll()
        slots = self._book.read()
        if self._settled(job, trial, slots, now):
            self.close()
            return ""
        self._metrics.trial(trial.figures)
        if not feed.caught_up:
            return "reading what was seen of it so far"
        decision = trial.decide(now)
        if decision.action == "canary":
            self._canary(job, trial, decision.reason, slots, now)
        elif decision.action == "promote":
            self._book.promote(trial.challenger, decision.reason, seen=slots)
            self._end(job, "promoted", decision.reason, trial, now)
        elif decision.action == "roll_back":
            self._book.rollback(decision.reason, seen=slots)
            self._end(job, "rolled_back", decision.reason, trial, now)
        return decision.reason

    def close(self) -> None:
        """Lets go of the trial; it can be taken up again."""
        if self._feed is not None:
            self._feed.close()
        self._feed, self._trial = None, None
        self._metrics.trial(None)

    def _taken_up(self, job: Job) -> tuple[Trial, TrialFeed]:
        if self._trial is None or self._feed is None:
            shadow, canary = job.steps["shadow"], job.steps.get("canary")
            self._trial = Trial(
                plan(self._settings, job.figures), _digest(job), since=shadow.at,
                canary_since=canary.at if canary else None,
            )  # fmt: skip
            self._feed = self._open_feed(self._trial)
        return self._trial, self._feed

    def _settled(self, job: Job, trial: Trial, slots: Slots, now: datetime) -> bool:
        """Whether the slots say that the trial is over, or a stage further than the last step; takes that step."""
        digest = trial.challenger
        if slots.champion is not None and slots.champion.digest == digest:
            self._end(job, "promoted", slots.reason, trial, slots.at or now)
            return True
        if slots.challenger is not None and slots.challenger.digest == digest:
            if trial.stage == "shadow":
                at = slots.at or now
                self._take_canary(job, trial, slots.reason, at)
            return False
        if slots.shadow is not None and slots.shadow.digest == digest and trial.stage == "shadow":
            return False
        why = f"the trial was ended: {slots.action} ({slots.reason or 'no reason given'})"
        own = slots.action == "rollback" and slots.challenger is None and slots.shadow is None
        self._end(job, "rolled_back", slots.reason if own and slots.reason else why, trial, slots.at or now)
        return True

    def _canary(self, job: Job, trial: Trial, reason: str, slots: Slots, now: datetime) -> None:
        share = self._settings.share
        beside = self._settings.shadow_share if self._settings.shadow_in_canary else 0.0
        after = self._book.canary(trial.challenger, share, shadow=beside, reason=reason, seen=slots)
        self._take_canary(
            job, trial, f"{reason}; it speaks for {share:.0%} of the uploads from now on", after.at or now
        )

    def _take_canary(self, job: Job, trial: Trial, reason: str, at: datetime) -> None:
        self._steps.take(job.id, "canary", at, reason=reason, figures=trial.figures)
        trial.begin_canary(at)

    def _end(self, job: Job, step: RolloutEnd, reason: str, trial: Trial, at: datetime) -> None:
        self._steps.take(job.id, step, at, reason=reason, figures=trial.figures)
        self.close()

    def _overtaken(self, job: Job, slots: Slots) -> str | None:
        """Why a challenger that was judged against one champion must not be tried against another."""
        parent = job.first.parent
        if slots.champion is not None and parent is not None and slots.champion.digest not in (parent, _digest(job)):
            return f"the champion it was judged against was replaced: {slots.reason or 'no reason given'}"
        return None


def plan(settings: RolloutSettings, figures: dict[str, float]) -> Plan:
    """How a challenger is tried, given what the gate measured of it."""
    seen = [figures[name] for name in ("golden_disagreement", "slice_disagreement") if name in figures]
    return Plan(
        shadow=Exposure(settings.shadow_records, settings.shadow_labels, settings.shadow_s),
        canary=Exposure(settings.canary_records, settings.canary_labels, settings.canary_s),
        share=settings.share,
        limits=Limits(
            alpha=settings.alpha,
            harm=settings.harm,
            disagreement=min(0.95, max(seen, default=_UNFORESEEN) + settings.disagreement),
            latency=settings.latency,
            errors=settings.errors,
            within=max(_FEWEST_LABELS, settings.canary_labels),
        ),
    )


def _digest(job: Job) -> str:
    digest = job.challenger
    assert digest is not None  # noqa: S101  a registered job has one
    return digest
