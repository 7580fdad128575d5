"""Whoever wants to know how a run goes."""

from __future__ import annotations


class Listener:
    """Is told how a run goes. This one keeps silent; the command line's draws bars."""

    def say(self, line: str) -> None:
        """A line worth keeping."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """A stretch of work of ``total`` steps starts, ``done`` of them already there; it ends the one before."""

    def advance(self, step: int = 1, note: str = "") -> None:
        """So many more steps are done."""


SILENT = Listener()
