"""Charts as SVG written by hand: they take their colours from the page's CSS variables and fetch nothing.

Every function returns one ``<svg>`` element; text in it is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from models.evaluation.measures import Floats, Scored, balance

_SIDE, _LEFT, _BOTTOM, _TOP, _RIGHT = 300, 46, 40, 12, 14
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_ROW, _NAME, _BAR, _FIGURE = 24, 210, 400, 170
_LONGEST = 33  # letters of a name that its column holds
_BINS = 10
_POINTS = 200
_DASHES = {"clean": "", "web": "7 3", "hard": "2 3"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a bar chart: shares from left to right, and a figure with its interval."""

    name: str
    shares: tuple[float, ...]
    figure: str
    note: str = ""


def roc(tiers: Mapping[str, Scored]) -> str:
    """The source-balanced ROC curve of every tier: false positives across, true positives up."""
    parts = [_frame("false positive rate", "true positive rate"), _line([(0, 0), (1, 1)], "chance")]
    parts += [_line(_roc_points(scored), f"tier {name}", _DASHES.get(name, "")) for name, scored in tiers.items()]
    return _square(parts, "ROC curves by delivery tier")


def reliability(tiers: Mapping[str, Scored]) -> str:
    """Stated probability across, observed source-balanced share of machine-made up; dots grow with pictures."""
    parts = [_frame("stated probability", "observed share"), _line([(0, 0), (1, 1)], "chance")]
    for name, scored in tiers.items():
        bins = _reliability_points(scored)
        parts.append(_line([(x, y) for x, y, _ in bins], f"tier {name}", _DASHES.get(name, "")))
        parts += [
            f'<circle class="dot {escape(name)}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="{1.5 + 8 * np.sqrt(share):.1f}">'
            f"<title>{escape(name)}: stated {x:.2f}, observed {y:.2f}, {share:.1%} of the weight</title></circle>"
            for x, y, share in bins
        ]
    return _square(parts, "Reliability by delivery tier")


def stacked(rows: Sequence[Row], classes: Sequence[str], title: str) -> str:
    """One bar a row, its shares in the given CSS classes, the figure at its right."""
    parts = []
    for number, row in enumerate(rows):
        y, x = number * _ROW, float(_NAME)
        parts.append(_label(row.name, y))
        for share, name in zip(row.shares, classes, strict=True):
            width = share * _BAR
            hint = f"<title>{escape(row.name)}: {escape(name.replace('-', ' '))} {share:.1%}</title>"
            parts.append(f'<rect class="{name}" x="{x:.1f}" y="{y + 5}" width="{width:.1f}" height="14">{hint}</rect>')
            x += width
        parts.append(_figure(row.figure, y))
    return _chart(parts, len(rows) * _ROW, title)


def whiskers(rows: Sequence[tuple[str, float, Sequence[float], str]], title: str, *, middle: float = 0.5) -> str:
    """One dot a row on a line from 0 to 1 with its interval, and a rule at ``middle``."""
    height = len(rows) * _ROW
    parts = [_rule(mark, height, "rule" if mark == middle else "grid") for mark in sorted({*_TICKS, middle})]
    for number, (name, value, (low, high), figure) in enumerate(rows):
        y = number * _ROW
        hint = f"<title>{escape(name)}: {value:.3f} ({low:.3f} to {high:.3f})</title>"
        parts += [
            _label(name, y),
            f'<line class="whisker" x1="{_NAME + low * _BAR:.1f}" x2="{_NAME + high * _BAR:.1f}" '
            f'y1="{y + 12}" y2="{y + 12}"/>',
            f'<circle class="point" cx="{_NAME + value * _BAR:.1f}" cy="{y + 12}" r="4.5">{hint}</circle>',
            _figure(figure, y),
        ]
    ticks = [f'<text class="tick" x="{_NAME + mark * _BAR}" y="{height + 14}">{mark:g}</text>' for mark in _TICKS]
    return _chart([*parts, *ticks], height + 20, title)


def _roc_points(scored: Scored) -> list[tuple[float, float]]:
    """Corners of the curve, thinned to a few hundred; equal scores make one slanted step."""
    weights = balance(scored.labels, scored.sources)
    order = np.argsort(-scored.p, kind="stable")
    fake, ordered = scored.labels[order] == 1, weights[order]
    ends = np.flatnonzero(np.r_[np.diff(scored.p[order]) < 0, True])
    caught, wrong = (_cumulated(ordered * mask)[ends] for mask in (fake, ~fake))
    keep = np.unique(np.linspace(0, len(ends) - 1, min(len(ends), _POINTS)).astype(int))
    return [(0.0, 0.0), *((float(wrong[i]), float(caught[i])) for i in keep)]


def _cumulated(values: Floats) -> Floats:
    found: Floats = np.cumsum(values) / values.sum()
    return found


def _reliability_points(scored: Scored) -> list[tuple[float, float, float]]:
    weights = balance(scored.labels, scored.sources)
    place = np.minimum((scored.p * _BINS).astype(int), _BINS - 1)
    points = []
    for number in np.unique(place):
        inside = place == number
        whole = weights[inside].sum()
        stated, observed = (weights[inside] @ values[inside] / whole for values in (scored.p, scored.labels))
        points.append((float(stated), float(observed), float(whole / weights.sum())))
    return points


def _x(value: float) -> float:
    return _LEFT + value * _SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIDE


def _line(points: Sequence[tuple[float, float]], name: str, dashes: str = "") -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline class="curve {escape(name)}" points="{path}" stroke-dasharray="{dashes}"/>'


def _frame(across: str, up: str) -> str:
    parts = [f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>']
    for tick in _TICKS:
        parts += [
            f'<line class="grid" x1="{_x(tick)}" x2="{_x(tick)}" y1="{_TOP}" y2="{_y(0)}"/>',
            f'<line class="grid" x1="{_LEFT}" x2="{_x(1)}" y1="{_y(tick)}" y2="{_y(tick)}"/>',
            f'<text class="tick" x="{_x(tick)}" y="{_y(0) + 15}">{tick:g}</text>',
            f'<text class="tick right" x="{_LEFT - 6}" y="{_y(tick) + 4}">{tick:g}</text>',
        ]
    middle = _y(0.5)
    parts += [
        f'<text class="axis" x="{_x(0.5)}" y="{_y(0) + 33}">{escape(across)}</text>',
        f'<text class="axis" transform="translate(12 {middle}) rotate(-90)">{escape(up)}</text>',
    ]
    return "".join(parts)


def _square(parts: Sequence[str], title: str) -> str:
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    return _svg(parts, width, height, title)


def _chart(parts: Sequence[str], height: int, title: str) -> str:
    return _svg(parts, _NAME + _BAR + _FIGURE, height, title)


def _svg(parts: Sequence[str], width: int, height: int, title: str) -> str:
    head = f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" aria-label="{escape(title)}">'
    return f"{head}{''.join(parts)}</svg>"


def _label(name: str, y: int) -> str:
    shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return f'<text class="name" x="{_NAME - 10}" y="{y + 16}">{escape(shown)}<title>{escape(name)}</title></text>'


def _figure(text: str, y: int) -> str:
    return f'<text class="figure" x="{_NAME + _BAR + 10}" y="{y + 16}">{escape(text)}</text>'


def _rule(mark: float, height: int, name: str) -> str:
    x = _NAME + mark * _BAR
    return f'<line class="{name}" x1="{x}" x2="{x}" y1="0" y2="{height}"/>'
