"""The dashboard's panels: each draws one part of a snapshot into the width and height it is given."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from compose.charts import bar, history, stacked
from compose.share import Share
from compose.snapshot import FamilyLine, Snapshot, VerdictLine

FAINT = "grey58"
FRAME = "grey37"
UPLOADS = "sky_blue1"
VERDICTS = "medium_spring_green"
VERDICT_STYLE = {"ai_generated": "orchid1", "authentic": "medium_spring_green", "uncertain": "gold1"}
VERDICT_WORD = {"ai_generated": "AI-generated", "authentic": "authentic", "uncertain": "uncertain"}
_MEDIAN_STYLE = "steel_blue1"
_QUEUE_WARNING = 100
_ROOMY = 28
_MANY = 100_000
_LEAST_BAR = 8
_BROAD = 90
_HEADED = 8
_TALL_CHART, _TALLER_CHART = 6, 9
_BARS_BELOW = 8
_ID_END = 12

Draw = Callable[[Snapshot, int, int], RenderableType]


@dataclass(frozen=True)
class Fitted:
    """Calls a panel's drawing function with the room that the layout found for it."""

    draw: Draw
    snapshot: Snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.draw(self.snapshot, options.max_width, options.height or options.max_height)


def framed(title: str, draw: Draw, snapshot: Snapshot) -> Panel:
    """A panel with a title around a drawing function."""
    heading = Text(title, style="bold grey89")
    return Panel(Fitted(draw, snapshot), title=heading, title_align="left", box=box.ROUNDED, border_style=FRAME)


def lines_of(*lines: Text) -> Text:
    """Lines as one text, cut at the panel's edge."""
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def spread(left: Text, right: Text, width: int) -> Text:
    """One text at each end of a line."""
    gap = max(width - left.cell_len - right.cell_len, 1)
    return Text.assemble(left, " " * gap, right, no_wrap=True)


def _count(name: str, value: int | None, style: str = "bold") -> Text:
    if value is None:
        shown = "–"
    elif value < _MANY:
        shown = f"{value:,}"
    else:
        shown = f"{value / 1000:.0f}k" if value < 10 * _MANY else f"{value / 1_000_000:.1f}M"
    return Text.assemble((f"{name} ", FAINT), (shown, style))


def traffic(snapshot: Snapshot, width: int, height: int) -> Text:
    """Uploads and verdicts a second with their histories, then what is under way, unread and dead-lettered."""
    label_width = 16
    chart_width = max(width - label_width - 1, 0)
    rows = 1 + (height >= _TALL_CHART) + (height >= _TALLER_CHART)
    ceiling = max((*snapshot.uploads_per_s, *snapshot.verdicts_per_s), default=0.0)
    lines: list[Text] = []
    for name, series, style in (
        ("uploads", snapshot.uploads_per_s, UPLOADS),
        ("verdicts", snapshot.verdicts_per_s, VERDICTS),
    ):
        rate = _latest(series)
        chart = history(series, width=chart_width, rows=rows, style=style, top=ceiling)
        for row, drawn in enumerate(chart):
            label = Text(" " * label_width)
            if row == rows - 1:
                label = Text.assemble((f"{name:<8}", FAINT), (f"{rate:6.1f}", f"bold {style}"), ("/s", FAINT))
            lines.append(Text.assemble(label, " ", drawn))
    waiting = "bold gold1" if snapshot.outstanding > _QUEUE_WARNING else "bold"
    lines += [
        spread(_count("sent", snapshot.uploads), _count("done", snapshot.verdicts), width),
        spread(_count("in flight", snapshot.outstanding, waiting), _count("lag", snapshot.worker.lag), width),
        spread(
            _count("dead letters", snapshot.dlq, "bold orange1" if snapshot.dlq else "bold"),
            _count("again", snapshot.duplicated, "bold red" if snapshot.duplicated else "bold"),
            width,
        ),
    ]
    return lines_of(*lines[-height:] if height < len(lines) else lines)


def _latest(series: tuple[float, ...], seconds: int = 3) -> float:
    last = series[-seconds:]
    return sum(last) / len(last) if last else 0.0


def latency(snapshot: Snapshot, width: int, height: int) -> Text:
    """The three percentiles as numbers and bars, then the history of the median."""
    label_width = 12
    lines: list[Text] = []
    found = snapshot.latency
    if found is None:
        lines = [Text("waiting for the first verdict", style=FAINT)] + [Text("")] * 2
    else:
        for name, value in (("p50", found.p50), ("p95", found.p95), ("p99", found.p99)):
            drawn = bar(value / max(found.p99, 1.0), width=max(width - label_width - 1, 0), style=_MEDIAN_STYLE)
            lines.append(Text.assemble((f"{name} ", FAINT), (f"{value:5,.0f}", "bold"), (" ms ", FAINT), drawn))
    room = height - len(lines) - 1
    rows = min(max(room, 1), 3)
    if room >= 1:
        lines += history(snapshot.median_ms, width=width, rows=rows, style=_MEDIAN_STYLE)
    caption = "event to verdict; median" if width >= _ROOMY else "event to verdict"
    lines.append(Text(caption, style=FAINT))
    return lines_of(*lines[:height])


def _share(name: str, share: Share, width: int, style: str) -> Text:
    if share.value is None or share.low is None or share.high is None:
        return spread(Text(name, style=FAINT), Text("–", style=FAINT), width)
    # The narrowest tile has no room for the interval's decimals.
    digits, room = (1, 11) if width >= _ROOMY else (0, 6)
    interval = f"{100 * share.low:.{digits}f}–{100 * share.high:.{digits}f}"
    value = Text.assemble((f"{100 * share.value:.1f}%", f"bold {style}"), (f" {interval:>{room}}", FAINT))
    return spread(Text(name, style=FAINT), value, width)


def quality(snapshot: Snapshot, width: int, height: int) -> Text:
    """Accuracy and false-positive rate against the generator's truth, with 95 % intervals."""
    spacious = height >= _BARS_BELOW
    lines: list[Text] = []
    for name, share, style in (
        ("accuracy", snapshot.accuracy, VERDICTS),
        ("false pos.", snapshot.fpr, "orange1"),
        ("decided", snapshot.coverage, _MEDIAN_STYLE),
    ):
        lines.append(_share(name, share, width, style))
        if spacious:
            lines.append(bar(share.value or 0.0, width=width, style=style))
    lines.append(Text(f"95 % interval, n={snapshot.accuracy.of:,}", style=FAINT))
    lines.append(Text("vs generator's truth", style=FAINT))
    return lines_of(*lines[:height])


def worker(snapshot: Snapshot, width: int, height: int) -> Text:
    """The worker's process, what it runs on, and how large its batches are."""
    process = snapshot.worker
    state_style = {"ready": VERDICTS, "stopped": "red"}.get(process.state, "gold1")
    memory = "–" if process.memory_mib is None else f"{process.memory_mib:,.0f} MiB"
    identity = f"pid {process.pid}" if process.pid else "no process"
    restarts = f" · {process.restarts} restarts" if process.restarts else ""
    provider = process.provider.removesuffix("ExecutionProvider") or "–"
    setting = snapshot.setting
    lines = [
        spread(Text(f"● {process.state}", style=state_style), Text(f"{identity}{restarts}", style=FAINT), width),
        spread(Text.assemble(("provider ", FAINT), (provider, "bold")), Text(memory, style=FAINT), width),
        spread(
            Text.assemble(("bundle ", FAINT), (setting.bundle_name, "bold")),
            Text(setting.bundle_digest.removeprefix("sha256:")[:8], style=FAINT),
            width,
        ),
    ]
    mean = "–" if process.batch_mean is None else f"{process.batch_mean:.1f}"
    if height >= len(lines) + 4:
        lines.append(spread(Text("delivery", style=FAINT), Text(setting.delivery.replace("_", " ")), width))
    lines.append(Text.assemble(("batches", FAINT), (", mean ", FAINT), (mean, "bold")))
    lines += _batches(process.batches, width, height - len(lines))
    return lines_of(*lines[:height])


def _batches(batches: tuple[tuple[float, int], ...], width: int, height: int) -> list[Text]:
    """Bars of the commonest batch sizes that fit, in order of size."""
    filled = [(limit, count) for limit, count in batches if count]
    commonest = sorted(sorted(filled, key=lambda entry: -entry[1])[: max(height, 0)])
    most = max((count for _, count in commonest), default=1)
    lines = []
    for limit, count in commonest:
        name = "more" if math.isinf(limit) else f"≤ {limit:.0f}"
        drawn = bar(count / most, width=max(width - 15, 0), style="medium_purple1")
        lines.append(Text.assemble((f"{name:>6} ", FAINT), drawn, f" {count:>7,}"))
    return lines


def families(snapshot: Snapshot, width: int, height: int) -> Table:
    """How each way of making a picture was judged."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style=FAINT)
    table.add_column("family", no_wrap=True, ratio=1)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("right", justify="right", no_wrap=True)
    table.add_column("wrong", justify="right", no_wrap=True)
    spread_width = min(width - 42, 44)
    barred = spread_width >= _LEAST_BAR
    if barred:
        table.add_column("said", width=spread_width, no_wrap=True)
    for line in _shown_families(snapshot.families, max(height - 1, 0)):
        mark = VERDICT_STYLE[line.truth]
        row: list[RenderableType] = [
            Text.assemble(("■ ", mark), line.name, overflow="ellipsis"),
            f"{line.judged:,}",
            _percent(line.right, line.judged),
            _percent(line.wrong, line.judged),
        ]
        table.add_row(*row, *([_said(line, spread_width)] if barred else []))
    return table


def _shown_families(lines: tuple[FamilyLine, ...], limit: int) -> list[FamilyLine]:
    return sorted(lines, key=lambda line: (line.truth != "authentic", -line.judged))[:limit]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "–"


def _said(line: FamilyLine, width: int) -> Text:
    """The family's verdicts as one bar: right, uncertain, wrong."""
    other = "authentic" if line.truth == "ai_generated" else "ai_generated"
    parts = ((line.right, line.truth), (line.uncertain, "uncertain"), (line.wrong, other))
    return stacked(((count, VERDICT_STYLE[verdict]) for count, verdict in parts), width=width)


def verdicts(snapshot: Snapshot, width: int, height: int) -> Table:
    """The last verdicts, newest first."""
    headed, chart_width = height >= _HEADED, 24 if width >= _BROAD else 14
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_header=headed, header_style=FAINT)
    # Ids begin with the time, so neighbours differ in their ends only.
    table.add_column("upload", no_wrap=True, style=FAINT, width=_ID_END)
    table.add_column("verdict", no_wrap=True, width=12)
    table.add_column("p(AI)", no_wrap=True, width=5, justify="right")
    table.add_column("", no_wrap=True, width=chart_width)
    table.add_column("really", no_wrap=True, ratio=1)
    table.add_column("ms", justify="right", no_wrap=True, width=6)
    for line in snapshot.recent[: height - headed]:
        style = VERDICT_STYLE[line.verdict]
        table.add_row(
            line.upload_id[-_ID_END:],
            Text(VERDICT_WORD[line.verdict], style=f"bold {style}"),
            f"{line.p_ai:.2f}",
            bar(line.p_ai, width=chart_width, style=style),
            _really(line),
            f"{line.latency_ms:,.0f}",
        )
    return table


def _really(line: VerdictLine) -> Text:
    if line.truth is None:
        return Text("not known", style=FAINT)
    if line.verdict == "uncertain":
        mark, style = "·", FAINT
    else:
        mark, style = ("✓", VERDICTS) if line.verdict == line.truth else ("✗", "bold red")
    return Text.assemble((f"{mark} ", style), line.family, overflow="ellipsis", no_wrap=True)
