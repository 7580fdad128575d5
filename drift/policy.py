"""From judgements to alarms: when to wake somebody, and when to say that it is over.

One window beyond its thresholds is expected now and then, so an alarm needs two of the last three. A shift is judged
over several windows together and alarms at once: the next judgement looks at nearly the same uploads and would confirm
chance as readily as change. An alarm is said once; while it stands, windows are warnings, and it is said again only
when the cool-down has passed. It is over after as many quiet windows in a row as `Rules.quiet` asks for, not at the
first, so that a shift near a threshold does not ring again and again.

    ok ──one window beyond, or early warning──▶ warning ──confirmed──▶ alarm ──quiet windows──▶ recovered ──▶ ok
     └──a shift of several windows together──────────────────────────────▲
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from drift.judgement import Judgement
from stream.ports import Clock

Status = Literal["ok", "warning", "alarm", "recovered"]

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """When to alarm.

    Attributes:
        minimum: Embeddings without which a window is not judged.
        confirmations: Windows beyond a threshold that make an alarm, unless a shift of several together does …
        among: … of so many last ones.
        quiet: Quiet windows in a row that end it.
        cooldown_s: Least time between two alarms, seconds.
        early_counts: Whether an early warning counts as one window beyond, while that window is among the last.
    """

    minimum: int = 200
    confirmations: int = 2
    among: int = 3
    quiet: int = 3
    cooldown_s: float = 1800.0
    early_counts: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to say of a window."""

    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """What a policy remembers between windows, so that it can be kept and taken up again.

    Attributes:
        recent: Of the last windows, oldest first, whether each was beyond a threshold.
        alarmed: An alarm stands.
        alarm_at: When it was last said, seconds since the epoch.
    """

    recent: tuple[bool, ...] = ()
    alarmed: bool = False
    alarm_at: float | None = None


class Policy:
    """The state machine of one model and tenant.

    Args:
        rules: When to alarm.
        clock: Time.
        state: Where another life of this policy stood.
    """

    def __init__(self, rules: Rules, clock: Clock, state: State | None = None) -> None:
        self.state = state or State()
        self._rules = rules
        self._clock = clock

    def see(self, judgement: Judgement, *, early: bool = False) -> Decision:
        """Takes the next window.

        Args:
            judgement: Of the window.
            early: The novelty detector fired within it.
        """
        rules, beyond = self._rules, judgement.exceeded
        if not judgement.judged or judgement.size < rules.minimum:
            return self._unjudged(judgement, early=early)
        counts = bool(beyond) or (early and rules.early_counts)
        recent = (*self.state.recent, counts)[-max(rules.among, rules.quiet) :]
        self.state = replace(self.state, recent=recent)
        if self.state.alarmed:
            return self._standing(beyond_in_words(judgement))
        if judgement.lasting or (counts and sum(recent[-rules.among :]) >= rules.confirmations):
            return self._confirmed(judgement, early=early)
        if beyond:
            return Decision("warning", f"{beyond_in_words(judgement)}; an alarm needs {self._needed()}")
        if early:
            return Decision("warning", "single uploads are unlike anything in the reference; no window is beyond yet")
        return Decision("ok", f"nothing in {judgement.size} embeddings is beyond its threshold")

    def _unjudged(self, judgement: Judgement, *, early: bool) -> Decision:
        few = f"{judgement.size} embeddings are too few to judge"
        if self.state.alarmed:
            return Decision("warning", f"{few}; the last alarm stands")
        if early:
            return Decision("warning", f"{few}, but single uploads are unlike anything in the reference")
        return Decision("ok", few)

    def _confirmed(self, judgement: Judgement, *, early: bool) -> Decision:
        rules, last = self._rules, self.state.alarm_at
        found = beyond_in_words(judgement) or "single uploads are unlike anything in the reference"
        now = self._clock.now()
        if last is not None and now - last < rules.cooldown_s:
            wait = rules.cooldown_s - (now - last)
            return Decision("warning", f"{found}; the last alarm is too recent for another within {wait:.0f} s")
        self.state = replace(self.state, alarmed=True, alarm_at=now)
        count = sum(self.state.recent[-rules.among :])
        where = f"the last {len(judgement.movements)}" if judgement.lasting else f"{count} of the last {rules.among}"
        also = ", and single uploads are unlike anything in the reference" if early and judgement.exceeded else ""
        return Decision("alarm", f"{found} in {where} windows{also}")

    def _standing(self, found: str) -> Decision:
        rules, recent, now = self._rules, self.state.recent, self._clock.now()
        if len(recent) >= rules.quiet and not any(recent[-rules.quiet :]):
            self.state = replace(self.state, alarmed=False, recent=())
            return Decision("recovered", f"{rules.quiet} windows in a row are within every threshold")
        if not recent[-1]:
            return Decision("warning", f"this window is within every threshold; {rules.quiet} in a row end the alarm")
        if now - (self.state.alarm_at or now) >= rules.cooldown_s and self._again():
            self.state = replace(self.state, alarm_at=now)
            return Decision("alarm", f"{found}; the drift has lasted since the last alarm")
        return Decision("warning", f"{found}; the alarm stands")

    def _again(self) -> bool:
        return sum(self.state.recent[-self._rules.among :]) >= self._rules.confirmations

    def _needed(self) -> str:
        return f"{self._rules.confirmations} of {self._rules.among} windows"


def beyond_in_words(judgement: Judgement) -> str:
    """What is beyond its threshold, the farthest first, such as ``residual (kl_div(…)) 0.31 > 0.05``."""
    beyond: Sequence[str] = [
        f"{component.name} ({component.statistic}) {component.value:.3g} > {component.threshold:.3g}"
        for component in judgement.exceeded
    ]
    more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
    return ", ".join(beyond[:_NAMED]) + more
