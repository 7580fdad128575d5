"""The live dashboard: a snapshot laid out for whatever terminal it is shown on, from 80×24 upwards."""

from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.layout import Layout
from rich.text import Text

from compose import loop_panels, panels
from compose.snapshot import Snapshot

_WIDE = 150
_TALL = 34


class _Sizes(NamedTuple):
    """Rows of what stands beside and below the loop, frames included."""

    models: int
    lower: int


# By the least height of the terminal.
_LOOPED = ((_TALL, _Sizes(10, 13)), (28, _Sizes(8, 8)), (0, _Sizes(4, 6)))


@dataclass(frozen=True)
class Dashboard:
    """Renders one snapshot; rich asks it again whenever the terminal's size changes."""

    snapshot: Snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        wide = options.max_width >= _WIDE
        if self.snapshot.loop is not None:
            body = _looped(self.snapshot, height, wide=wide)
        else:
            body = _wide(self.snapshot, height) if wide else _narrow(self.snapshot, height)
        page = Layout()
        page.split_column(
            Layout(panels.Fitted(_header, self.snapshot), size=1),
            body,
            Layout(panels.Fitted(_footer, self.snapshot), size=1),
        )
        yield page


def _tiles(snapshot: Snapshot, size: int, *, with_worker: bool) -> Layout:
    row = Layout(size=size)
    tiles = [
        panels.framed("Traffic", panels.traffic, snapshot),
        panels.framed("Latency", panels.latency, snapshot),
        panels.framed("Quality", panels.quality, snapshot),
    ]
    if with_worker:
        tiles.append(panels.framed("Worker", panels.worker, snapshot))
    row.split_row(*(Layout(tile) for tile in tiles))
    return row


def _narrow(snapshot: Snapshot, height: int) -> Layout:
    tall = height >= _TALL
    middle = Layout(size=13 if tall else 8)
    middle.split_row(
        Layout(panels.framed("By family", panels.families, snapshot), ratio=3),
        Layout(panels.framed("Worker", panels.worker, snapshot), ratio=2),
    )
    body = Layout()
    body.split_column(
        _tiles(snapshot, 11 if tall else 7, with_worker=False),
        middle,
        Layout(panels.framed("Last verdicts", panels.verdicts, snapshot)),
    )
    return body


def _wide(snapshot: Snapshot, height: int) -> Layout:
    lower = Layout()
    lower.split_row(
        Layout(panels.framed("By family", panels.families, snapshot), ratio=9),
        Layout(panels.framed("Last verdicts", panels.verdicts, snapshot), ratio=11),
    )
    body = Layout()
    body.split_column(_tiles(snapshot, 12 if height >= _TALL else 8, with_worker=True), lower)
    return body


def _looped(snapshot: Snapshot, height: int, *, wide: bool) -> Layout:
    """The loop in the middle; the worker and the last verdicts are shown where there is room for them."""
    size = next(size for least, size in _LOOPED if height >= least)
    beside = Layout(ratio=5)
    beside.split_column(
        Layout(panels.framed("Models", loop_panels.models, snapshot), size=size.models),
        Layout(panels.framed("Before and after", loop_panels.before_and_after, snapshot)),
    )
    middle = Layout()
    middle.split_row(Layout(panels.framed("The loop", loop_panels.story, snapshot), ratio=8), beside)
    lower = Layout(size=size.lower)
    lower.split_row(
        Layout(panels.framed("By family", panels.families, snapshot), ratio=8),
        Layout(panels.framed("Drift", loop_panels.drift, snapshot), ratio=5),
        *([Layout(panels.framed("Last verdicts", panels.verdicts, snapshot), ratio=8)] if wide else []),
    )
    body = Layout()
    body.split_column(_tiles(snapshot, 7, with_worker=wide), middle, lower)
    return body


def _header(snapshot: Snapshot, width: int, height: int) -> Text:
    del height
    minutes, seconds = divmod(int(snapshot.elapsed_s), 60)
    left = Text.assemble((" VERISTREAM ", "bold black on medium_spring_green"), f" {snapshot.setting.pictures}")
    right = Text.assemble(
        (snapshot.phase, panels.UPLOADS), (" · ", panels.FAINT), f"{minutes:02d}:{seconds:02d}", " ", no_wrap=True
    )
    broker = Text(f"  {snapshot.setting.broker}", style=panels.FAINT)
    if left.cell_len + broker.cell_len + right.cell_len < width:
        left.append_text(broker)
    left.truncate(max(width - right.cell_len - 1, 0), overflow="ellipsis")
    return Text.assemble(left, " " * max(width - left.cell_len - right.cell_len, 1), right, no_wrap=True)


def _footer(snapshot: Snapshot, width: int, height: int) -> Text:
    del height
    left = Text.assemble((" Ctrl-C ", "bold black on grey70"), " stops everything  ")
    limits = Text(snapshot.setting.limits, style=panels.FAINT)
    limits.truncate(max(width - left.cell_len, 0), overflow="ellipsis")
    return Text.assemble(left, limits, no_wrap=True)
