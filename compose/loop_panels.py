"""The dashboard's panels of the loop: what happened, who speaks, how far the traffic has drifted, before and after."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from compose import telling
from compose.charts import bar, history
from compose.loop_view import STAGES, Beat, Gauge, LoopView, Mood, SlotView
from compose.panels import FAINT, UPLOADS, VERDICTS, lines_of, spread
from compose.share import Share
from compose.snapshot import Snapshot

WARM, ALARM = "gold1", "red"
_TRIAL = "medium_purple1"
_MOOD: Mapping[Mood, tuple[str, str]] = {
    "plain": ("•", UPLOADS),
    "good": ("✓", VERDICTS),
    "doubtful": ("▲", WARM),
    "bad": ("▲", ALARM),
}
_STEP_WIDTH = 14
_HISTORY_ROWS = 2
_GAUGE_NAME = 19
_SCALE = 2.0
"""Bars of the gauge reach twice the threshold."""
_ROOMY = 44
_TALL = 9


def story(snapshot: Snapshot, width: int, height: int) -> Text:
    """The stages as one line, then what happened, newest last."""
    loop = snapshot.loop
    if loop is None:
        return lines_of(Text("no loop in this scenario", style=FAINT))
    head = [_stages(loop, width), *([Text("")] if height > _TALL else [])]
    room = max(height - len(head), 1)
    told = _beats(loop.beats[-room:], width, 2)
    if len(told) > room:
        told = _beats(loop.beats[-room:], width, 1)
    return lines_of(*head, *(told[-room:] or [Text("calm: nothing has happened yet", style=FAINT)]))


def _stages(loop: LoopView, width: int) -> Text:
    """All stages where there is room; else those behind are left out first."""
    here = STAGES.index(loop.stage)
    gap = " › " if len(" › ".join(STAGES)) <= width else " "
    first = next((n for n in range(here) if len(gap.join(STAGES[n:])) <= width), here)
    text = Text(no_wrap=True, overflow="crop")
    for number, stage in enumerate(STAGES[first:], first):
        if number > first:
            text.append(gap, style=FAINT)
        style = "bold black on " + _stage_colour(loop) if number == here else (VERDICTS if number < here else FAINT)
        text.append(stage, style=style)
    return text


def _stage_colour(loop: LoopView) -> str:
    mood = loop.beats[-1].mood if loop.beats else "plain"
    return VERDICTS if loop.stage in ("calm", "promoted") else {"bad": "orange1", "doubtful": WARM}.get(mood, UPLOADS)


def _beats(beats: Sequence[Beat], width: int, rows: int) -> list[Text]:
    """Each in so many rows; the last one, and whatever was refused, may take three."""
    return [row for beat in beats for row in _beat(beat, width, 3 if beat is beats[-1] or beat.reasons else rows)]


def _beat(beat: Beat, width: int, most: int) -> list[Text]:
    mark, style = _MOOD[beat.mood]
    head = Text.assemble(
        (f"{telling.moment(beat.seconds)} ", FAINT),
        (f"{mark} ", style),
        (f"{beat.step.replace('_', ' '):<{_STEP_WIDTH}}", f"bold {style}" if beat.mood != "plain" else "bold"),
    )
    room = max(width - head.cell_len, 1)
    measured = telling.change(beat.step, beat.figures)
    parts = (beat.text, measured) if beat.reasons else (measured, beat.text)
    said = "; ".join(part for part in parts if part)
    rows = _folded(said, room, most)
    indent = " " * head.cell_len
    return [Text.assemble(head if not number else indent, row, no_wrap=True) for number, row in enumerate(rows)]


def _folded(text: str, width: int, most: int) -> list[str]:
    """Broken at spaces into at most so many rows; what is left over is cut with an ellipsis."""
    rows: list[str] = []
    rest = text
    while rest and len(rows) < most - 1 and len(rest) > width:
        cut = rest.rfind(" ", 0, width + 1)
        cut = cut if cut > 0 else width
        rows.append(rest[:cut])
        rest = rest[cut:].lstrip()
    return [*rows, rest if len(rest) <= width else f"{rest[: width - 1]}…"] if rest or not rows else rows


def models(snapshot: Snapshot, width: int, height: int) -> Text:
    """Who is in which slot, with the share of the uploads it is given, then the loop's processes."""
    loop = snapshot.loop
    if loop is None:
        return lines_of()
    lines = [_slot(slot, loop, width) for slot in loop.slots]
    process = snapshot.worker
    running: list[tuple[str, str, float | None]] = [("worker", process.state, process.memory_mib)]
    running += [(found.name, found.state, found.memory_mib) for found in loop.processes]
    for name, state, memory in running:
        style = {"ready": VERDICTS, "stopped": ALARM}.get(state, WARM)
        shown = "–" if memory is None else f"{memory:,.0f} MiB"
        left = Text.assemble(("● ", style), (f"{name:<8}", ""), (state, FAINT))
        lines.append(spread(left, Text(shown, style=FAINT), width))
    told = Text.assemble(("labels ", FAINT), (f"{loop.labels.total:,}", "bold"))
    told.append(f", {loop.labels.ai_generated:,} of them AI", style=FAINT)
    lines.append(told)
    return lines_of(*lines[:height])


def _slot(line: SlotView, loop: LoopView, width: int) -> Text:
    style = {"champion": VERDICTS, "challenger": "orchid1", "shadow": _TRIAL}.get(line.slot, FAINT)
    if line.digest is None:
        return Text.assemble((f"{line.slot:<11}", FAINT), ("–", FAINT))
    # While a challenger speaks for its share, the champion speaks for the rest.
    canary = next((slot.share for slot in loop.slots if slot.slot == "challenger" and slot.digest), 0.0)
    share = {"champion": 1.0 - canary, "previous": 0.0}.get(line.slot, line.share)
    head = Text.assemble((f"{line.slot:<11}", style), (telling.short(line.digest), "bold"), " ")
    tail = f" {100 * share:3.0f}%"
    if line.slot == "previous":
        return head
    return head.append_text(bar(share, width=max(width - head.cell_len - len(tail), 0), style=style)).append(tail)


def drift(snapshot: Snapshot, width: int, height: int) -> Text:
    """Every monitored number against its own threshold, furthest first, then how the furthest went."""
    loop = snapshot.loop
    if loop is None or not loop.drift.gauges:
        whose = "the new champion" if loop is not None and loop.promoted_at else "the champion"
        return lines_of(Text(f"no window of {whose} yet", style=FAINT))
    known = loop.drift
    style = {"alarm": ALARM, "warning": WARM}.get(known.status, VERDICTS)
    counts = Text(f"{known.evaluations} judged, {known.alarms} alarms", style=FAINT)
    lines = [spread(Text(f"● {known.status}", style=f"bold {style}"), counts, width)]
    tall = height >= _TALL
    rows = _HISTORY_ROWS if tall else 1
    room = max(height - len(lines) - rows - tall, 1)
    furthest = sorted(known.gauges, key=lambda gauge: -gauge.ratio)[:room]
    lines += [_gauge(gauge, width) for gauge in furthest]
    lines += history(known.history, width=width, rows=rows, style=style, top=_SCALE)
    if tall:
        lines.append(Text("furthest by its threshold, over time", style=FAINT))
    return lines_of(*lines[:height])


def _gauge(gauge: Gauge, width: int) -> Text:
    style = ALARM if gauge.alarmed or gauge.ratio > 1 else VERDICTS
    name = f"{gauge.name[:_GAUGE_NAME]:<{_GAUGE_NAME}} "
    figures = f" {telling.number(gauge.value)}/{telling.number(gauge.threshold)}"
    tail = f"{figures:>13}" if width >= _ROOMY else f" {gauge.ratio:4.1f}×"
    drawn = bar(gauge.ratio / _SCALE, width=max(width - len(name) - len(tail), 0), style=style)
    if drawn.cell_len > 1:
        # The threshold stands in the middle of every bar.
        middle = drawn.cell_len // 2
        drawn = Text.assemble(drawn[:middle], ("┃", "bold"), drawn[middle + 1 :])
    return Text.assemble((name, FAINT), drawn, (tail, style if style == ALARM else FAINT), no_wrap=True)


def before_and_after(snapshot: Snapshot, width: int, height: int) -> Text:
    """Accuracy on the new family and the false-positive rate, under the first champion and under the promoted one."""
    loop = snapshot.loop
    if loop is None:
        return lines_of()
    numbers = loop.numbers
    new = ", ".join(loop.newcomers) or "none"
    lines = [
        Text.assemble(("accuracy on ", FAINT), (new, "bold")),
        *_compared(numbers.accuracy_before, numbers.accuracy_after, width, WARM),
        Text("false positives", style=FAINT),
        *_compared(numbers.fpr_before, numbers.fpr_after, width, "orange1"),
        Text("uncertain counts as wrong; 95 % intervals", style=FAINT),
    ]
    return lines_of(*lines[:height])


def _compared(before: Share, after: Share, width: int, style: str) -> list[Text]:
    return [_share("before", before, width, style), _share("after", after, width, VERDICTS)]


def _share(name: str, share: Share, width: int, style: str) -> Text:
    head = Text(f" {name:<7}", style=FAINT)
    if share.value is None or share.low is None or share.high is None:
        return head.append("–", style=FAINT)
    value = f"{100 * share.value:5.1f}%"
    tail = f" {100 * share.low:.0f}–{100 * share.high:.0f} n={share.of:,}"
    room = max(width - head.cell_len - len(value) - len(tail) - 1, 0)
    return Text.assemble(head, (value, f"bold {style}"), " ", bar(share.value, width=room, style=style), (tail, FAINT))
