"""How far a headless demo plays: the point in the loop at which it has shown what it was asked for."""

from typing import Literal

from compose.loop_view import LoopView

Until = Literal["alarm", "gated", "promoted"]

ENOUGH = 300
"""Uploads of the new family that the promoted champion must have judged before its accuracy is stated."""


def reached(view: LoopView, until: Until) -> bool:
    """Whether the story is there.

    ``alarm``: an alarm since the new family entered. ``gated``: the gate refused a challenger. ``promoted``: another
    champion than the first speaks, and has judged `ENOUGH` uploads of the new family.
    """
    if until == "alarm":
        return view.alarm_at is not None
    if until == "gated":
        return view.judged.refused is True
    return view.promoted_at is not None and view.numbers.accuracy_after.of >= ENOUGH


def out_of_reach(view: LoopView, until: Until) -> bool:
    """Whether waiting on is of no use: the gate was to refuse and let the challenger pass."""
    return until == "gated" and view.judged.refused is False


def missed(view: LoopView, until: Until, timeout_s: float) -> str:
    """Why the point was not reached, in words."""
    if out_of_reach(view, until):
        return "the gate let the challenger pass where it was to refuse it"
    last = f"the last thing was {view.beats[-1].step}: {view.beats[-1].text}" if view.beats else "nothing happened"
    return f"not {until} within {timeout_s:g} s; {last}"
