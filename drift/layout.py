"""How a reference lies in its file: plain arrays by name, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from drift import thresholds
from drift.discrepancy import Discrepancy
from drift.projection import Projection
from drift.shift import Shift

if TYPE_CHECKING:
    from drift.reference import Reference

FORMAT = 3
"""Format 1 had a threshold of the shift that two windows of three had to confirm, format 2 no mean of the uploads taken
for authentic."""

_LEAST = 2
_FLOATS = (
    "centre", "directions", "low", "high", "whitening", "authentic_centre", "authentic_whitening",
    "vectors", "scores", "strangeness",
)  # fmt: skip


def arrays(reference: Reference) -> dict[str, npt.NDArray[Any]]:
    """Everything a reference is, in a fixed order."""
    levels = [thresholds.to_arrays(level) for level in reference.thresholds]
    everything, authentic = reference.shifts
    return {
        "format": np.array(FORMAT),
        "model_digest": np.array(reference.model_digest),
        "centre": reference.projection.centre, "directions": reference.projection.directions,
        "low": reference.projection.low, "high": reference.projection.high,
        "whitening": everything.whitening,
        "authentic_centre": authentic.centre, "authentic_whitening": authentic.whitening,
        "vectors": reference.vectors, "scores": reference.scores, "strangeness": reference.strangeness,
        "thresholds": np.stack([values for values, _ in levels]),
        "calibration": np.stack([facts for _, facts in levels]),
        "discrepancy": np.array([reference.discrepancy.width, reference.discrepancy.within]),
        "discrepancy_thresholds": reference.discrepancy.thresholds,
    }  # fmt: skip


def parts(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """The arguments of `drift.reference.Reference`.

    Raises:
        ValueError: Another format, or arrays that do not fit each other; a missing one is a KeyError, one with too few
            dimensions an IndexError or TypeError.
    """
    _check_shapes(arrays)
    known = tuple(map(thresholds.from_arrays, arrays["thresholds"], arrays["calibration"]))
    sizes = [level.n_current for level in known]
    if sizes != sorted(sizes, reverse=True) or sizes[-1] < 1:
        raise ValueError("its thresholds are not for windows of falling size")
    if min(arrays["thresholds"].min(), *(min(level.shifts) for level in known), known[0].n - 1) <= 0:
        raise ValueError("a threshold is not above 0")
    floats = {name: arrays[name].astype(np.float32) for name in _FLOATS}
    width, within = (float(number) for number in arrays["discrepancy"])
    return {
        "model_digest": str(arrays["model_digest"]),
        "projection": Projection(floats["centre"], floats["directions"], floats["low"], floats["high"]),
        "shifts": (
            Shift(floats["centre"], floats["whitening"], known[0].n),
            Shift(floats["authentic_centre"], floats["authentic_whitening"], known[0].n),
        ),
        "vectors": floats["vectors"],
        "scores": floats["scores"],
        "thresholds": known,
        "strangeness": floats["strangeness"],
        "discrepancy": Discrepancy(
            floats["vectors"], width, within, np.array(sizes), arrays["discrepancy_thresholds"].astype(np.float64)
        ),
    }


def _check_shapes(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    if arrays["format"].shape != () or int(arrays["format"]) != FORMAT:
        raise ValueError(f"format {arrays['format']} is not {FORMAT}")
    n, dimensions = arrays["vectors"].shape
    components, levels = arrays["directions"].shape[1], len(arrays["calibration"])
    shapes = {
        "model_digest": (), "centre": (dimensions,), "directions": (dimensions, components),
        "low": (components + 1,), "high": (components + 1,), "whitening": (dimensions, dimensions),
        "authentic_centre": (dimensions + 1,), "authentic_whitening": (dimensions + 1, dimensions + 1),
        "vectors": (n, dimensions), "scores": (n,), "strangeness": arrays["strangeness"].shape[:1],
        "thresholds": (levels, 2, components + 2), "calibration": (levels, 8),
        "discrepancy": (2,), "discrepancy_thresholds": (levels,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if arrays[name].shape != shape or (shape and not np.isfinite(arrays[name]).all()):
            raise ValueError(f"{name} is not finite of shape {shape}")
    if n < _LEAST or not levels or not len(arrays["strangeness"]):
        raise ValueError("it holds too little")
    if (np.diff(arrays["strangeness"]) < 0).any():
        raise ValueError("strangeness does not ascend")
