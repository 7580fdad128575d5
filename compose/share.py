"""A share with its interval: how the dashboard and the report tell every rate."""

from dataclasses import dataclass
from typing import Self

from models.intervals import wilson


@dataclass(frozen=True, slots=True)
class Share:
    """A share of ``of`` cases with its 95 % Wilson interval; all three are None while ``of`` is 0.

    Attributes:
        value: The share itself, 0 to 1.
        low: Lower end of the interval.
        high: Upper end of the interval.
        of: How many cases it is a share of.
    """

    value: float | None
    low: float | None
    high: float | None
    of: int

    @classmethod
    def of_counts(cls, part: int, whole: int) -> Self:
        """``part`` of ``whole`` cases."""
        low, high = wilson(part, whole) or (None, None)
        return cls(part / whole if whole else None, low, high, whole)
