"""`--json FILE`: what a command found, for machines in a file or on stdout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from models.evaluation import files

JsonOption = Annotated[str | None, typer.Option("--json", metavar="FILE", help="File for the figures; - for stdout")]


class JsonFile:
    """Where a command's JSON goes. Make it before the work, so that what would fail after it is said before it.

    Args:
        named: What the option says; None where nobody asked for JSON.
        others: Further files that the command will write with it; None where one was not asked for.

    Attributes:
        on_stdout: Whether stdout is taken, so that people are told nothing there.
        in_file: Whether it goes to a file.

    Raises:
        ConfigurationError: A file cannot be written where one was named, or two results would go to one file.
    """

    def __init__(self, named: str | None, *others: Path | None) -> None:
        self.on_stdout = named == "-"
        self._paths = [Path(named)] if named is not None and not self.on_stdout else []
        self.in_file = bool(self._paths)
        files.check([*self._paths, *(path for path in others if path is not None)])

    def write(self, text: str, others: Mapping[Path, str | bytes] | None = None) -> None:
        """Puts the JSON where it was asked for, and the further files into their places: all or none of them.

        Raises:
            ConfigurationError: A file cannot be written.
        """
        text = text.rstrip("\n")
        files.write({**dict.fromkeys(self._paths, f"{text}\n"), **(others or {})})
        if self.on_stdout:
            typer.echo(text)
