"""What the loop came to, for the demo's report: when, what the gate said, and the numbers before and after."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from compose.loop_view import Beat, LoopView
from compose.share import Share

_DIGITS = 5


def loop_report(view: LoopView) -> dict[str, Any]:
    """The story as JSON; see `compose.story` for what the numbers mean.

    ``rollout.seconds`` runs from the new family's first upload to the promotion, ``alarm_after_s`` to the alarm;
    ``steps`` count seconds from the first upload of all. ``gate`` is its last answer, also where another job has begun.
    """
    numbers = view.numbers
    return {
        "rollout": {
            "families": list(view.newcomers),
            "entered_at": _time(view.entered_at),
            "alarm_at": _time(view.alarm_at),
            "alarm_after_s": _between(view.entered_at, view.alarm_at),
            "alarm_after_uploads": _uploads_until_alarm(view),
            "promoted": view.promoted_at is not None,
            "promoted_at": _time(view.promoted_at),
            "seconds": _between(view.entered_at, view.promoted_at),
            "champion": view.champion,
            **_share("accuracy_before", numbers.accuracy_before),
            **_share("accuracy_after", numbers.accuracy_after),
            **_share("fpr_before", numbers.fpr_before),
            **_share("fpr_after", numbers.fpr_after),
        },
        "gate": {
            "refused": view.judged.refused,
            "reasons": list(view.judged.reasons),
            "figures": dict(view.judged.figures or {}),
        },
        "drift": {
            "evaluations": view.drift.evaluations,
            "alarms": view.drift.alarms,
            "false_alarms": view.drift.false_alarms,
            "alarms_on_promoted": view.drift.alarms_on_promoted,
        },
        "labels": {"total": view.labels.total, "ai_generated": view.labels.ai_generated},
        "slots": {line.slot: {"digest": line.digest, "share": line.share} for line in view.slots if line.digest},
        "models": [
            {
                "digest": spoken.digest,
                "arm": spoken.arm,
                "verdicts": spoken.verdicts,
                **_share("accuracy", spoken.accuracy),
                **_share("fpr", spoken.fpr),
            }
            for spoken in view.spoken
        ],
        "steps": [_beat(beat) for beat in view.beats],
    }


def loop_rows(report: Mapping[str, Any]) -> dict[str, str]:
    """The same for people, a row each."""
    rollout, drift, gate = report["rollout"], report["drift"], report["gate"]
    verdict = {None: "not asked", True: "refused", False: "passed"}[gate["refused"]]
    promoted = f"after {rollout['seconds']:.0f} s" if rollout["promoted"] else "no"
    alarm = rollout["alarm_after_s"]
    return {
        "new family": ", ".join(rollout["families"]) or "none",
        "alarm": "none since it entered" if alarm is None else f"{alarm:.0f} s after it entered",
        "drift": f"{drift['evaluations']} evaluations, {drift['alarms']} alarms, {drift['false_alarms']} false",
        "gate": verdict + "".join(f"; {reason}" for reason in gate["reasons"]),
        "promoted": promoted,
        "accuracy on it": f"{_percent(rollout, 'accuracy_before')} before, {_percent(rollout, 'accuracy_after')} after",
        "false positives then": f"{_percent(rollout, 'fpr_before')} before, {_percent(rollout, 'fpr_after')} after",
    }


def _percent(rollout: Mapping[str, Any], name: str) -> str:
    if rollout[name] is None:
        return "–"
    low, high = rollout[f"{name}_ci95"]
    return f"{rollout[name]:.1%} ({low:.1%}–{high:.1%}, n={rollout[f'{name}_of']:,})"


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else round((end - start).total_seconds(), 3)


def _uploads_until_alarm(view: LoopView) -> int | None:
    entered = next((beat.uploads for beat in view.beats if beat.step == "entered"), None)
    alarmed = next((beat.uploads for beat in view.beats if beat.step == "alarm" and beat.at == view.alarm_at), None)
    return None if entered is None or alarmed is None else alarmed - entered


def _share(name: str, share: Share) -> dict[str, Any]:
    interval = (
        None if share.low is None or share.high is None else [round(share.low, _DIGITS), round(share.high, _DIGITS)]
    )
    value = None if share.value is None else round(share.value, _DIGITS)
    return {name: value, f"{name}_ci95": interval, f"{name}_of": share.of}


def _beat(beat: Beat) -> dict[str, Any]:
    return {
        "at": beat.at.isoformat(),
        "seconds": beat.seconds,
        "uploads": beat.uploads,
        "step": beat.step,
        "text": beat.text,
        "figures": dict(beat.figures),
        "reasons": list(beat.reasons),
    }
