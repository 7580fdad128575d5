"""The loop's events in words: one short line each, and whether it is good news."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from compose.loop_view import Mood
from stream.events import ComponentDrift, DriftReport, RetrainStep

_NAMED = 3
_SHORT = 8
_LARGE = 1000

_MOODS: dict[str, Mood] = {
    "warning": "doubtful",
    "alarm": "bad",
    "recovered": "good",
    "refused": "bad",
    "failed": "bad",
    "rolled_back": "bad",
    "registered": "good",
    "promoted": "good",
}
_GATE = (
    ("slice accuracy", "slice_balanced_accuracy_champion", "slice_balanced_accuracy_challenger"),
    ("golden FPR", "golden_fpr_champion", "golden_fpr_challenger"),
)
# By step: what it is called, and the figures of the champion and of the challenger.
_CHANGES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "trained": (("AUC on the held-out labels", "auc_slice_before", "auc_slice"),),
    "evaluated": _GATE,
    "refused": _GATE,
}


class Told(NamedTuple):
    """An event for people."""

    text: str
    mood: Mood


def short(digest: str | None) -> str:
    """The first characters of a digest, enough for people to tell models apart."""
    return (digest or "–").removeprefix("sha256:")[:_SHORT]


def moment(seconds: float) -> str:
    """Minutes and seconds of a run, such as ``01:05``."""
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    return f"{minutes:02d}:{rest:02d}"


def report(event: DriftReport) -> Told:
    """A drift report: whose uploads, and which numbers are beyond their thresholds, or what the labels show."""
    named = ", ".join(_component(part) for part in worst(event.components)[:_NAMED] if part.alarmed)
    whose = f"tenant {event.tenant}: " if event.tenant is not None else ""
    numbers = named if event.kind == "embeddings" else ""
    what = numbers or event.reason or f"{event.window.size} {event.kind} judged"
    return Told(f"{whose}{what}", _MOODS.get(event.status, "plain"))


def worst(parts: Sequence[ComponentDrift]) -> list[ComponentDrift]:
    """The further of the two directions of each number, the furthest number first."""
    found: dict[str, ComponentDrift] = {}
    for part in sorted(parts, key=_excess, reverse=True):
        found.setdefault(part.name, part)
    return list(found.values())


def step(event: RetrainStep) -> Told:
    """A step of a job: its reasons if it was refused, else its reason, else what such a step is."""
    text = "; ".join(event.reasons) or event.reason or _usual(event)
    if event.step == "requested" and event.trigger and event.trigger not in text:
        text = f"{event.trigger}: {text}"
    return Told(text, _MOODS.get(event.step, "plain"))


def change(step: str, measured: Mapping[str, float]) -> str:
    """What a step was worth, champion → challenger, such as ``golden FPR 0.03 → 0.035``; empty where nothing says."""
    return ", ".join(
        f"{name} {number(measured[before])} → {number(measured[after])}"
        for name, before, after in _CHANGES.get(step, ())
        if before in measured and after in measured
    )


def number(value: float) -> str:
    """Counts and what is large without decimals, the rest with three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= _LARGE or float(value).is_integer() else f"{value:.3g}"


def _excess(part: ComponentDrift) -> float:
    return part.value / part.threshold if part.threshold > 0 else 0.0


def _component(part: ComponentDrift) -> str:
    return f"{part.name} {number(part.value)} > {number(part.threshold)}"


def _usual(event: RetrainStep) -> str:
    model = short(event.model_digest)
    return {
        "requested": f"job {event.job_id[:_SHORT]}",
        "dataset_built": "labels gathered",
        "trained": f"challenger {model} fitted",
        "evaluated": f"challenger {model} beside the champion",
        "refused": "the gate refused it",
        "registered": f"challenger {model} passes the gate",
        "shadow": f"{model} is asked beside the champion",
        "canary": f"{model} speaks for a share of the uploads",
        "promoted": f"{model} takes over",
        "rolled_back": f"{model} is taken back",
        "failed": "the job failed",
    }[event.step]
