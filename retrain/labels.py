"""What people and trusted sources said of an upload, and which of it counts.

Origins rank: a golden label over an appeal, that over a moderator, that over a user report, that over a simulated
label. The highest origin that spoke decides; within it people are weighed by how reliable they proved to be
(`retrain.reliability`). A user report counts only once a second person said the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

from stream.events import Label, TruthName

Origin = Literal["golden", "appeal", "moderator", "user_report", "simulated"]
Doubt = Literal["unverified", "contradictory", "untrusted"]

RANKED: tuple[Origin, ...] = get_args(Origin)
WEIGHTS: Mapping[Origin, float] = {
    "golden": 1.0,
    "appeal": 0.9,
    "moderator": 0.8,
    "user_report": 0.5,
    "simulated": 0.8,
}
_LEAST_MARGIN = 0.1
_LEAST_WORTH = 0.01


@dataclass(frozen=True, slots=True)
class Opinion:
    """One label as it was given; ``at`` in seconds since the epoch."""

    upload_id: str
    label: TruthName
    origin: Origin
    reviewer: str
    at: float

    @classmethod
    def of(cls, label: Label) -> Opinion:
        """Reads the event."""
        return cls(label.upload_id, label.label, label.origin, label.reviewer, label.at.timestamp())

    @property
    def id(self) -> str:
        """Names this label in a manifest without naming the person."""
        parts = (self.upload_id, self.origin, self.reviewer, f"{self.at:.6f}", self.label)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What counts for one upload.

    Attributes:
        label: The label.
        weight: In (0, 1]; origin times reliability.
        origin: Which origin decided.
        owner: The one person on whose word it rests; None where it is golden or two people agree.
        label_ids: Of the labels that decided.
        overruled: Other people who said the opposite.
    """

    label: TruthName
    weight: float
    origin: Origin
    owner: str | None
    label_ids: tuple[str, ...]
    overruled: int


def standing(opinions: Iterable[Opinion]) -> tuple[Opinion, ...]:
    """The opinion that stands for each person: of their highest origin the last, in order of reviewer."""
    last: dict[str, Opinion] = {}
    for opinion in opinions:
        before = last.get(opinion.reviewer)
        if before is None or _precedence(opinion) > _precedence(before):
            last[opinion.reviewer] = opinion
    return tuple(last[reviewer] for reviewer in sorted(last))


def rule(opinions: Iterable[Opinion], trust: Mapping[str, float]) -> Ruling | Doubt:
    """Decides which label counts for an upload.

    Args:
        opinions: All of one upload, in any order, repeated or not.
        trust: What each person's word is worth, 0 to 1; see `retrain.reliability.Reliability.trust`.

    Returns:
        The ruling, or why there is none: a user report that nobody confirmed, people of equal standing who contradict
        each other, or nobody whose word is worth anything.
    """
    voices = standing(opinions)
    verified = [voice for voice in voices if voice.origin != "user_report" or _confirmed(voice, voices)]
    if not verified:
        return "unverified"
    origin = min((voice.origin for voice in verified), key=RANKED.index)
    deciding = [voice for voice in verified if voice.origin == origin]
    worth = {voice.reviewer: 1.0 if origin == "golden" else trust.get(voice.reviewer, 0.0) for voice in deciding}
    sides: dict[TruthName, list[Opinion]] = {"ai_generated": [], "authentic": []}
    for voice in deciding:
        sides[voice.label].append(voice)
    votes = {label: sum(worth[voice.reviewer] for voice in side) for label, side in sides.items()}
    label: TruthName = "ai_generated" if votes["ai_generated"] > votes["authentic"] else "authentic"
    total = sum(votes.values())
    if total < _LEAST_WORTH:
        return "untrusted"
    margin = abs(votes["ai_generated"] - votes["authentic"]) / total
    if margin < _LEAST_MARGIN:
        return "contradictory"
    winners = [voice for voice in sides[label] if worth[voice.reviewer] > 0]
    sure = 1 - prod(1 - worth[voice.reviewer] for voice in winners)
    return Ruling(
        label=label,
        weight=WEIGHTS[origin] * margin * sure,
        origin=origin,
        owner=_owner(origin, winners),
        label_ids=tuple(sorted(voice.id for voice in winners)),
        overruled=sum(voice.label != label for voice in voices),
    )


def _precedence(opinion: Opinion) -> tuple[int, float, str]:
    return -RANKED.index(opinion.origin), opinion.at, opinion.label


def _confirmed(report: Opinion, voices: Sequence[Opinion]) -> bool:
    return any(voice.reviewer != report.reviewer and voice.label == report.label for voice in voices)


def _owner(origin: Origin, winners: Sequence[Opinion]) -> str | None:
    return winners[0].reviewer if len(winners) == 1 and origin != "golden" else None
