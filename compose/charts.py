"""Small charts in text: a history in block characters, and thin bars with half a cell of precision."""

from collections.abc import Iterable, Sequence

from rich.text import Text

_RISING = " ▁▂▃▄▅▆▇█"
_STEPS = 8
_LINE, _HALF_LINE = "━", "╸"
_TRACK = "grey23"


def history(values: Sequence[float], *, width: int, rows: int = 1, style: str = "", top: float = 0.0) -> list[Text]:
    """Draws the last ``width`` values as columns, the newest at the right.

    Args:
        values: Oldest first, none negative.
        width: Columns.
        rows: Lines; each adds eight steps of height.
        style: A rich style.
        top: The value that fills the height, at least; the largest value shown, if that is more.

    Returns:
        ``rows`` lines of ``width`` characters, the top line first. A value above zero shows at least one step.
    """
    shown = list(values[-width:]) if width > 0 else []
    shown = [0.0] * (width - len(shown)) + shown
    ceiling = max([top, *shown]) or 1.0
    heights = [max(round(value / ceiling * rows * _STEPS), 1 if value > 0 else 0) for value in shown]
    lines = []
    for row in reversed(range(rows)):
        cells = (_RISING[min(max(height - row * _STEPS, 0), _STEPS)] for height in heights)
        lines.append(Text("".join(cells), style=style, no_wrap=True))
    return lines


def bar(share: float, *, width: int, style: str = "") -> Text:
    """Draws a share of ``width`` cells, in halves, on a faint track; what lies outside 0 to 1 is cut."""
    full, half = divmod(round(min(max(share, 0.0), 1.0) * width * 2), 2)
    text = Text(_LINE * full + _HALF_LINE * half, style=style, no_wrap=True)
    return text.append(_LINE * (width - full - half), style=_TRACK)


def stacked(parts: Iterable[tuple[int, str]], *, width: int) -> Text:
    """Draws counts, each with its style, as parts of one bar; an empty track where all are 0."""
    counted = list(parts)
    total = sum(count for count, _ in counted)
    text = Text(no_wrap=True)
    seen = 0
    for count, style in counted:
        seen += count
        text.append(_LINE * (round(width * seen / max(total, 1)) - len(text)), style=style)
    return text.append(_LINE * (width - len(text)), style=_TRACK)
