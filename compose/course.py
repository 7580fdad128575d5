"""Which stage the loop was at when, whichever order its events are heard in: they come from several topics."""

from bisect import insort
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from compose.loop_view import STAGES, Stage


class _Mark(NamedTuple):
    at: datetime
    rank: int
    over: bool


class Course:
    """The marks that events leave, in the order of the events' own times.

    A stage is followed by a later one, never by an earlier one, unless a round is over and the next one begins.
    """

    def __init__(self) -> None:
        self._marks: list[_Mark] = []

    @property
    def stage(self) -> Stage:
        """Where the loop stands, as far as is known."""
        return self._stage(self._marks)

    def mark(self, at: datetime, stage: Stage | None, *, over: bool = False) -> None:
        """Notes that an event of this time belongs to a stage (None: to whichever it was), and whether it ends a round.

        Of two events of the same moment the one of the earlier stage counts as the first.
        """
        insort(self._marks, _Mark(at, STAGES.index(stage) if stage is not None else len(STAGES), over))

    def stage_at(self, moment: datetime) -> Stage:
        """Where the loop stood after the events up to this moment."""
        return self._stage(self._until(moment))

    def met(self, stage: Stage, moment: datetime) -> bool:
        """Whether an event of this stage is known of the round that this moment lies in."""
        begun = next((mark.at for mark in reversed(list(self._until(moment))) if mark.over), None)
        for mark in self._marks:
            if begun is not None and mark.at <= begun:
                continue
            if mark.rank == STAGES.index(stage):
                return True
            if mark.over:
                break
        return False

    def _until(self, moment: datetime) -> Iterator[_Mark]:
        return (mark for mark in self._marks if mark.at <= moment)

    @staticmethod
    def _stage(marks: Iterable[_Mark]) -> Stage:
        rank, over = 0, False
        for mark in marks:
            if mark.rank < len(STAGES) and (over or mark.rank > rank):
                rank, over = mark.rank, False
            over = over or mark.over
        return STAGES[rank]
