"""Small charts in text: a history in block characters, and a bar with eighths of a cell."""

from collections.abc import Sequence

from rich.text import Text

_RISING = " ▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STEPS = 8


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


def bar(share: float, *, width: int, style: str = "", track: str = "grey23") -> Text:
    """Draws a share of ``width`` cells, in eighths, on a faint track.

    Args:
        share: 0 to 1; what lies outside is cut.
        width: Cells.
        style: Colour of the bar.
        track: Colour of the rest.
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * _STEPS)
    full, rest = divmod(eighths, _STEPS)
    text = Text("█" * full, style=style, no_wrap=True)
    if rest:
        text.append(_EIGHTHS[rest], style=f"{style} on {track}")
    text.append(" " * (width - len(text)), style=f"on {track}")
    return text
