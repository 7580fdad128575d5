"""One moment of the loop from drift to promotion, frozen: what the dashboard shows of it and the report tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from compose.share import Share
from stream.events import Arm, Slot

Mood = Literal["plain", "good", "doubtful", "bad"]
Stage = Literal["calm", "entered", "alarm", "labels", "job", "gate", "shadow", "canary", "promoted"]
STAGES: tuple[Stage, ...] = ("calm", "entered", "alarm", "labels", "job", "gate", "shadow", "canary", "promoted")


@dataclass(frozen=True, slots=True)
class Beat:
    """One thing that happened.

    Attributes:
        at: When, by the clock of whoever said so.
        seconds: The same, since the first upload.
        uploads: Uploads that had been sent when it was heard of.
        step: What kind of thing.
        text: What it was, in words.
        mood: Whether it is good news.
        figures: What was measured, by name.
        reasons: Every limit that was found broken, in words.
    """

    at: datetime
    seconds: float
    uploads: int
    step: str
    text: str
    mood: Mood
    figures: Mapping[str, float]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """One monitored number of the last evaluation beside its own threshold."""

    name: str
    value: float
    threshold: float
    alarmed: bool

    @property
    def ratio(self) -> float:
        """The value in units of its threshold; above 1 is beyond it."""
        return self.value / self.threshold if self.threshold > 0 else 0.0


@dataclass(frozen=True, slots=True)
class DriftView:
    """What the drift monitor said so far.

    Attributes:
        status: Of the last evaluation of the champion's uploads, all tenants; empty before the first.
        evaluations: Reports heard, of every model, tenant and kind.
        alarms: Times that a model's or tenant's status became ``alarm``.
        false_alarms: Of these, the ones raised before anything new had entered.
        alarms_on_promoted: Of these, the ones raised on a champion that was promoted meanwhile.
        gauges: Every number of that last evaluation.
        history: The largest value by threshold in each of the champion's evaluations, oldest first.
    """

    status: str = ""
    evaluations: int = 0
    alarms: int = 0
    false_alarms: int = 0
    alarms_on_promoted: int = 0
    gauges: tuple[Gauge, ...] = ()
    history: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotView:
    """Who is in a slot; ``digest`` is None where it is empty."""

    slot: Slot
    digest: str | None
    share: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one model said in one arm, since the new family entered.

    Attributes:
        digest: Of its bundle.
        arm: The arm it spoke in.
        verdicts: Uploads of photographs and of the new family that it judged.
        accuracy: Share of the new family's uploads that it called `ai_generated`; an abstention is a miss.
        fpr: Share of photographs that it called `ai_generated`.
    """

    digest: str
    arm: Arm
    verdicts: int
    accuracy: Share
    fpr: Share


@dataclass(frozen=True, slots=True)
class Numbers:
    """Before and after on the new family; see `compose.story` for what counts as which."""

    accuracy_before: Share
    accuracy_after: Share
    fpr_before: Share
    fpr_after: Share


@dataclass(frozen=True, slots=True)
class GateView:
    """What the gate said; ``refused`` is None while it has said nothing."""

    refused: bool | None = None
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class LabelView:
    """Labels on the feedback topic so far."""

    total: int = 0
    ai_generated: int = 0


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One of the loop's own processes."""

    name: str
    state: str
    pid: int | None
    memory_mib: float | None


@dataclass(frozen=True, slots=True)
class LoopView:
    """Where the loop stands.

    Attributes:
        stage: The furthest step of the present round.
        newcomers: Families that enter after the scenario's first phase.
        champion: Digest of the model that speaks now.
        beats: Everything that happened, in the order of their own times.
        labels: Labels so far.
        drift: What the drift monitor said.
        slots: All four slots.
        spoken: Every model that spoke since the new family entered.
        numbers: Before and after.
        gate: What the gate said in the present round.
        judged: What it said last, in whichever round that was.
        entered_at: When the new family's first upload was sent.
        alarm_at: First alarm since then.
        promoted_at: When the present champion took over; None while it is still the first.
        processes: The loop's own processes.
    """

    stage: Stage
    newcomers: tuple[str, ...]
    champion: str
    beats: tuple[Beat, ...]
    labels: LabelView
    drift: DriftView
    slots: tuple[SlotView, ...]
    spoken: tuple[Spoken, ...]
    numbers: Numbers
    gate: GateView
    judged: GateView = GateView()
    entered_at: datetime | None = None
    alarm_at: datetime | None = None
    promoted_at: datetime | None = None
    processes: tuple[ProcessView, ...] = ()
