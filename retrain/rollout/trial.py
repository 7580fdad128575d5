"""One challenger's way to the champion's slot: shadow, canary, promoted, or rolled back. Pure: no clock, no topics.

What comes in are records in any order; labels and verdicts of an upload find each other here. `decide` says what is to
be done next. It may be asked after every record: see `retrain.rollout.evidence`.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Literal, NamedTuple, TypeVar

from retrain.rollout.evidence import Evidence, Limits, Opinion
from stream.arms import position
from stream.events import Label, ShadowVerdict, TruthName, Verdict

Stage = Literal["shadow", "canary"]
Action = Literal["stay", "canary", "promote", "roll_back"]
T = TypeVar("T")

# Labels that come whatever the verdict said. Appeals and reports come because of it, and would count one model's
# mistakes and not the other's.
FAIR_ORIGINS = frozenset({"moderator", "golden", "simulated"})
_REMEMBERED = 100_000
_SETTLING = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a stage must have seen before it may end well.

    Attributes:
        records: Uploads that the challenger judged in this stage.
        labels: Of them and the champion's, uploads whose truth is known.
        longest_s: After this time labels are no longer waited for; records always are.
    """

    records: int
    labels: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How a challenger is tried.

    Attributes:
        shadow: What the shadow must have seen.
        canary: What the canary must have seen.
        share: Of the uploads that the canary speaks for.
        limits: What counts as harm.
        doubt: While the evidence is at this or above, a stage that has seen enough waits for more all the same.
    """

    shadow: Exposure
    canary: Exposure
    share: float = 0.1
    limits: Limits = field(default_factory=Limits)
    doubt: float = 2.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and why, in words."""

    action: Action
    reason: str


class _Pair(NamedTuple):
    at: datetime
    champion: Opinion
    challenger: Opinion


class _Said(NamedTuple):
    at: datetime
    challenger: bool
    opinion: Opinion


class Trial:
    """A challenger under way.

    Args:
        plan: How it is tried.
        challenger: Digest of its bundle.
        since: When its shadow began.
        canary_since: When its canary began; None while it is in the shadow.
    """

    def __init__(self, plan: Plan, challenger: str, *, since: datetime, canary_since: datetime | None = None) -> None:
        self.plan = plan
        self.challenger = challenger
        self.since = since
        self.canary_since = canary_since
        self.evidence = Evidence(plan.limits, plan.share)
        self._shadows: _Memory[_Pair] = _Memory()
        self._verdicts: _Memory[_Said] = _Memory()
        self._truths: _Memory[TruthName] = _Memory()
        self._told: _Memory[bool] = _Memory()
        self._labels = dict.fromkeys(("shadow", "canary"), 0)
        self._records = dict.fromkeys(("shadow", "canary"), 0)

    @property
    def stage(self) -> Stage:
        """Where it is."""
        return "shadow" if self.canary_since is None else "canary"

    def begin_canary(self, at: datetime) -> None:
        """The challenger speaks from now on."""
        self.canary_since = at

    def see_shadow(self, seen: ShadowVerdict) -> None:
        """Takes what the challenger would have said; another model's is passed over."""
        if seen.model.digest != self.challenger or seen.decided_at < self.since or seen.upload_id in self._shadows:
            return
        champion = Opinion(seen.champion_p_ai, seen.champion_verdict)
        pair = self._shadows[seen.upload_id] = _Pair(seen.decided_at, champion, Opinion(seen.p_ai, seen.verdict))
        self._records["shadow"] += 1
        self.evidence.shadowed(seen)
        if (truth := self._truths.get(seen.upload_id)) is not None:
            self._tell_pair(seen.upload_id, truth, pair)

    def see_verdict(self, verdict: Verdict) -> None:
        """Takes what was said to the platform; only the canary's time counts."""
        if self.canary_since is None or verdict.decided_at < self.canary_since or verdict.upload_id in self._verdicts:
            return
        challenger = verdict.model.digest == self.challenger
        said = _Said(verdict.decided_at, challenger, Opinion(verdict.p_ai, verdict.verdict))
        self._verdicts[verdict.upload_id] = said
        self._records["canary"] += challenger
        self.evidence.spoken(verdict, challenger=challenger)
        if not challenger and self._was_passed_over(verdict):
            self.evidence.failed()
        if (truth := self._truths.get(verdict.upload_id)) is not None:
            self._tell_arm(verdict.upload_id, truth, said)

    def see_label(self, label: Label) -> None:
        """Takes what a person says of an upload; the first word counts, and only fair origins do."""
        if label.origin not in FAIR_ORIGINS or label.upload_id in self._truths:
            return
        self._truths[label.upload_id] = label.label
        if (pair := self._shadows.get(label.upload_id)) is not None:
            self._tell_pair(label.upload_id, label.label, pair)
        if (said := self._verdicts.get(label.upload_id)) is not None:
            self._tell_arm(label.upload_id, label.label, said)

    def decide(self, now: datetime) -> Decision:
        """What is to be done now."""
        if self.evidence.proven:
            needed = f"evidence {min(self.evidence.wealth, 1e9):.1f}, {1 / self.plan.limits.alpha:g} proves harm"
            return Decision("roll_back", f"{self.evidence.worst} ({needed})")
        asked = self.plan.shadow if self.stage == "shadow" else self.plan.canary
        records, labels = self._records[self.stage], self._labels[self.stage]
        seen = f"{records} uploads and {labels} labels in the {self.stage}"
        if records < asked.records:
            return Decision("stay", f"{seen}; {asked.records} uploads are asked for")
        late = (now - (self.canary_since or self.since)).total_seconds() >= asked.longest_s
        if not late and labels < asked.labels:
            return Decision("stay", f"{seen}; {asked.labels} labels are asked for")
        if not late and self.evidence.wealth >= self.plan.doubt:
            return Decision("stay", f"{seen}; in doubt: {self.evidence.worst} (evidence {self.evidence.wealth:.1f})")
        proof = f"no proof of harm (evidence {self.evidence.wealth:.2f} of {1 / self.plan.limits.alpha:g})"
        ended = f", and its longest time of {asked.longest_s:g} s is over" if late and labels < asked.labels else ""
        return Decision("canary" if self.stage == "shadow" else "promote", f"{seen}{ended}: {proof}")

    @property
    def figures(self) -> dict[str, float]:
        """What was measured, by name."""
        return self.evidence.figures | {"labels_seen": float(self._labels["shadow"] + self._labels["canary"])}

    def _was_passed_over(self, verdict: Verdict) -> bool:
        """Whether it was the challenger's turn: where it fails, the champion speaks in its place.

        Workers load it at different times, so the canary's first moments say nothing.
        """
        assert self.canary_since is not None  # noqa: S101  narrows the type
        settled = verdict.occurred_at >= self.canary_since + _SETTLING
        return settled and position(verdict.upload_id, self.challenger) < self.plan.share

    def _tell_pair(self, upload_id: str, truth: TruthName, pair: _Pair) -> None:
        self._label(upload_id, pair.at)
        self.evidence.told_of_pair(truth, pair.champion, pair.challenger)

    def _tell_arm(self, upload_id: str, truth: TruthName, said: _Said) -> None:
        self._label(upload_id, said.at)
        self.evidence.told_of_arm(truth, said.opinion, challenger=said.challenger)

    def _label(self, upload_id: str, at: datetime) -> None:
        """Counts an upload once, though it may have a verdict and a shadow's."""
        if upload_id not in self._told:
            self._told[upload_id] = True
            self._labels["shadow" if self.canary_since is None or at < self.canary_since else "canary"] += 1


class _Memory(Generic[T]):
    """The last of what was seen, by upload id; the oldest are forgotten."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, T] = OrderedDict()

    def __contains__(self, upload_id: str) -> bool:
        return upload_id in self._held

    def __setitem__(self, upload_id: str, value: T) -> None:
        self._held[upload_id] = value
        if len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)

    def get(self, upload_id: str) -> T | None:
        """What was seen of an upload."""
        return self._held.get(upload_id)
