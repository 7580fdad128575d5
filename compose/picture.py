"""The dashboard as a picture, for documents."""

import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from compose.dashboard import Dashboard
from compose.snapshot import Snapshot
from stream.errors import ConfigurationError

WIDTH, HEIGHT = 120, 40
_FONT_FACE = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
_FAMILY = re.compile(r"font-family: Fira Code, monospace")
_ANYWHERE = "font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def save_svg(snapshot: Snapshot, path: Path, *, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Renders a snapshot as a terminal of that size and writes it as SVG that fetches nothing from anywhere.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Dashboard(snapshot))
    template = _FAMILY.sub(_ANYWHERE, _FONT_FACE.sub("", CONSOLE_SVG_FORMAT))
    try:
        path.write_text(console.export_svg(title="veristream demo", code_format=template), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the picture cannot be written: {error.strerror}", where=str(path)) from error
