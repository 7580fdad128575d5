"""One window against the reference: every statistic beside its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt

from drift import discrepancy, shift
from drift.divergence import BACKWARD, FORWARD, Floats, both
from drift.novelty import SUSPECTS
from drift.reference import Reference
from drift.shift import Movement
from stream.events import ComponentDrift

TOGETHER = 3
"""Windows whose shift is judged together, at most. More see a smaller shift, but not sooner: with four, what has begun
within the last 2,000 uploads is thinned by uploads from before it (measured in windows of 500)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of one window.

    Attributes:
        size: Embeddings in the window.
        components: Every statistic that may alarm; empty where the window was too small to judge.
        shadow: The statistic that is reported and never alarms; None where the window was too small.
        movements: Where the means of the windows have gone whose shift was judged together, this one's last; of each,
            those of `drift.shift.views`.
        along: How far each embedding lies in the direction of each shift, see `along`; None where the window was too
            small.
    """

    size: int
    components: tuple[ComponentDrift, ...]
    shadow: ComponentDrift | None = None
    movements: tuple[tuple[Movement, ...], ...] = ()
    along: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    @property
    def judged(self) -> bool:
        """Whether the window was large enough."""
        return bool(self.components)

    @property
    def exceeded(self) -> tuple[ComponentDrift, ...]:
        """What is beyond its threshold, the farthest first."""
        beyond = [component for component in self.components if component.alarmed]
        return tuple(sorted(beyond, key=lambda component: component.threshold / component.value))

    @property
    def shifts(self) -> tuple[ComponentDrift, ...]:
        """Those of the statistics that are shifts of means, as `drift.shift.COLUMNS` has them."""
        return tuple(component for component in self.components if component.name in shift.COLUMNS)

    @property
    def shifted(self) -> bool:
        """Whether the shift of a mean is beyond its threshold."""
        return any(found.alarmed for found in self.shifts)

    @property
    def lasting(self) -> bool:
        """Whether that shift is one of several windows together: it needs no other to confirm it."""
        return self.shifted and len(self.movements) > 1

    def suspects(self, upload_ids: Sequence[str], count: int = SUSPECTS) -> tuple[str, ...]:
        """The uploads that moved the mean most, most first: what an alarm is likely about.

        The shift that is farthest beyond its threshold counts. Empty where none is beyond, for its direction is chance
        then; `drift.novelty` names single uploads that are strange by themselves.

        Args:
            upload_ids: Of the window, in its order.
            count: How many at most.
        """
        if self.along is None or not self.shifted:
            return ()
        farthest = int(np.argmax([found.value / found.threshold for found in self.shifts]))
        order = np.argsort(-self.along[:, farthest], kind="stable")
        return tuple(upload_ids[place] for place in order[:count])


def judge(
    reference: Reference,
    vectors: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    *,
    divergences: Floats | None = None,
    before: Judgement | None = None,
) -> Judgement:
    """Compares a window with its model's reference.

    Args:
        reference: Of the model that made the embeddings.
        vectors: ``[n, D]``.
        scores: ``[n]``, calibrated.
        divergences: float64 ``[2, C]``, if Evidently has taken them; `drift.divergence.both` gives the same.
        before: Of the window before this one. The shift of the last `TOGETHER` windows is judged together, which sees
            a smaller one than any would alone.

    Raises:
        MalformedEvent: Embeddings of another length, or a number is not finite.
    """
    columns = reference.columns(vectors, scores)
    level = reference.thresholds_for(len(columns))
    earlier = before.movements[1 - TOGETHER :] if before is not None else ()
    if level is None:
        return Judgement(len(columns), (), movements=earlier)
    found = both(reference.own_columns(), columns) if divergences is None else divergences
    components = [
        _component(name, statistic, float(value), float(threshold))
        for statistic, values, thresholds in zip((FORWARD, BACKWARD), found, level.values, strict=True)
        for name, value, threshold in zip(reference.names, values, thresholds, strict=True)
    ]
    seen = shift.views(vectors, scores)
    movements = (*earlier, tuple(known.movement(view) for known, view in zip(reference.shifts, seen, strict=True)))
    moved = _together(movements)
    shifts = [
        _component(name, shift.NAME, known.statistic(mean), threshold)
        for name, known, mean, threshold in zip(shift.COLUMNS, reference.shifts, moved, level.shifts, strict=True)
    ]
    mmd = reference.discrepancy
    limit = mmd.threshold(len(columns))
    shadow = None
    if limit is not None:
        value = mmd.of(vectors.astype(np.float32))
        shadow = ComponentDrift(
            name=shift.COLUMNS[0], statistic=discrepancy.NAME, value=value, threshold=limit, alarmed=False
        )
    return Judgement(len(columns), (*components, *shifts), shadow, movements, _along(reference, seen, moved))


def along(
    reference: Reference,
    vectors: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    movements: Sequence[tuple[Movement, ...]],
) -> npt.NDArray[np.float32]:
    """How far embeddings lie in the direction of each shift, in deviations of the reference.

    Args:
        reference: Of the model that made the embeddings.
        vectors: ``[n, D]``, of a window or of the reference.
        scores: ``[n]``.
        movements: The windows' that were judged together, as `Judgement.movements`.

    Returns:
        float32 ``[n, 2]``, as `drift.shift.COLUMNS` has the shifts.
    """
    return _along(reference, shift.views(vectors, scores), _together(movements))


def _along(
    reference: Reference, seen: Sequence[npt.NDArray[np.floating]], moved: Sequence[Movement]
) -> npt.NDArray[np.float32]:
    return np.stack(
        [known.along(view, mean) for known, view, mean in zip(reference.shifts, seen, moved, strict=True)], axis=1
    )


def _together(movements: Sequence[tuple[Movement, ...]]) -> list[Movement]:
    return [reduce(add, of_view) for of_view in zip(*movements, strict=True)]


def _component(name: str, statistic: str, value: float, threshold: float) -> ComponentDrift:
    return ComponentDrift(name=name, statistic=statistic, value=value, threshold=threshold, alarmed=value > threshold)
