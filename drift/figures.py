"""What an alarm's page is made of, and the file beside the page in which it lies."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Columns = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Columns of the reference and of a window, and their limits.

    Attributes:
        reference: ``[n, C + S]``: what is watched, and how far each upload lies along S shifts.
        current: ``[m, C + S]``.
        names: The columns'.
        thresholds: ``[2, C]``, of the divergences of the first columns, forward and backward.
        shifts: ``[2, S]``: how far the mean has shifted along the last columns, as T², and its threshold.
    """

    reference: Columns
    current: Columns
    names: tuple[str, ...]
    thresholds: Columns
    shifts: Columns

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of it by name; nothing in it needs pickle."""
        return {
            "reference": self.reference, "current": self.current, "names": np.array(self.names),
            "thresholds": self.thresholds, "shifts": self.shifts,
        }  # fmt: skip

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From what `arrays` gave; files from before shifts had columns have no ``shifts``."""
        return cls(
            arrays["reference"], arrays["current"], tuple(map(str, arrays["names"])), arrays["thresholds"],
            arrays.get("shifts", np.empty((2, 0))),
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """As an npz."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **self.arrays())
        return buffer.getvalue()

    @classmethod
    def read(cls, data: bytes) -> Self:
        """From what `to_bytes` gave."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return cls.of(file)
