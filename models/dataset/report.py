"""What a check found, for people and for machines, and whether it refuses."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from models.dataset.manifest import DataManifest
from models.dataset.policy import Policy, Reason
from models.dataset.probe import Probe
from models.dataset.probing import told
from stream.events import TruthName

_LOOK = "Look at the pictures that the manifest's list names, and repair or remove their source."
_LIMITED: tuple[tuple[str, tuple[Reason, ...], str, str], ...] = (
    ("unreadable", ("unreadable",), "cannot be decoded", _LOOK),
    ("tiny", ("tiny",), "are too small", "Give larger pictures, or state a smaller `smallest_side`."),
    ("duplicates", ("duplicate", "near_duplicate"), "repeat another one", _LOOK),
    ("conflicts", ("conflict",), "are there under both labels", _LOOK),
)  # fmt: skip


class Refusal(BaseModel):
    """One reason not to train, and what to do about it."""

    model_config = ConfigDict(frozen=True)

    what: str
    remedy: str


class Report(BaseModel):
    """The findings. ``decided_by`` names the probe that may refuse; ``digest`` is the data manifest's."""

    model_config = ConfigDict(frozen=True)

    found: int
    kept: int
    dropped: dict[Reason, int]
    classes: dict[TruthName, int]
    sources: dict[str, int]
    probes: dict[str, Probe]
    decided_by: str
    warnings: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    digest: str


def judge(manifest: DataManifest, probes: Mapping[str, Probe], policy: Policy) -> Report:
    """Holds what was found against the limits."""
    found = sum(manifest.collections.values())
    dropped = {reason: left.pictures for reason, left in manifest.dropped.items()}
    classes: dict[TruthName, int] = {"authentic": 0, "ai_generated": 0}
    for source in manifest.sources:
        classes[source.label] += source.pictures
    decisive = told(probes)
    refusals = [
        *_shares(found, dropped, policy),
        *_balance(classes, policy),
        *_leak(probes[decisive], decisive, policy),
    ]
    return Report(
        found=found,
        kept=manifest.pictures,
        dropped=dropped,
        classes=classes,
        sources={source.name: source.pictures for source in manifest.sources},
        probes=dict(probes),
        decided_by=decisive,
        warnings=tuple(_warnings(probes, decisive, policy)),
        refusals=tuple(refusals),
        digest=manifest.digest,
    )


def _shares(found: int, dropped: Mapping[Reason, int], policy: Policy) -> list[Refusal]:
    refusals = []
    for name, reasons, what, remedy in _LIMITED:
        count, limit = sum(dropped.get(reason, 0) for reason in reasons), getattr(policy, name)
        if count > limit * found:
            refusals.append(
                Refusal(what=f"{count:,} of {found:,} pictures {what}, more than {limit:.0%}", remedy=remedy)
            )
    return refusals


def _balance(classes: Mapping[TruthName, int], policy: Policy) -> list[Refusal]:
    total = sum(classes.values())
    name = min(classes, key=lambda label: classes[label])
    if total and classes[name] and classes[name] >= policy.smaller_class * total:
        return []
    what = f"{classes[name]:,} of {total:,} pictures are {name}, less than {policy.smaller_class:.0%}"
    if not classes[name]:
        what = f"No usable picture is {name}"
    return [Refusal(what=what, remedy=f"Give more {name} pictures.")]


def _leak(probe: Probe, state: str, policy: Policy) -> list[Refusal]:
    if probe.outcome != "leak":
        return []
    what = (
        f"Width, height, format and quality alone tell the classes apart ({state}): balanced accuracy "
        f"{probe.balanced_accuracy:.3f} (over {probe.lower:.4f} at 95 %), where {policy.leak:.2f} is allowed; "
        f"{probe.told_by} tells most ({probe.alone[probe.told_by]:.3f} by itself)"
    )
    return [Refusal(what=what, remedy="Make both classes alike in it: cut, resize or encode them in the same way.")]


def _warnings(probes: Mapping[str, Probe], decisive: str, policy: Policy) -> list[str]:
    lines = []
    for state, probe in probes.items():
        if state == decisive and probe.outcome == "untold":
            lines.append("Too few pictures to probe for a leak: nothing is known about one")
        elif state == decisive and probe.outcome == "undecided":
            lines.append(
                f"The leak probe is undecided: {probe.balanced_accuracy:.3f} is over {policy.leak:.2f}, its lower "
                f"limit {probe.lower:.3f} is not; more pictures would tell"
            )
        elif state != decisive and probe.outcome == "leak":
            lines.append(
                f"Told apart by what must never be fed to a network ({state}): {probe.balanced_accuracy:.3f}, mostly "
                f"by {probe.told_by}"
            )
    return lines
