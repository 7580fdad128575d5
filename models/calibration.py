"""From a network's logit to a probability and a verdict: Platt scaling and two thresholds set at stated error rates.

`p = sigmoid(a·logit + b)` (J. Platt, "Probabilistic outputs for support vector machines", 1999). A picture is called
``ai_generated`` above one threshold, ``authentic`` below the other, and ``uncertain`` between and on them. Each
threshold carries the error rate it was set at, and on what.
"""

import math
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from models.manifest import CALIBRATION, faults
from stream.errors import BundleInvalid, ModelError
from stream.events import Probability, ThresholdIds, VerdictName

Floats = npt.NDArray[np.float64]

_STEPS = 100
_GRADIENT = 1e-9
_RIDGE = 1e-12
_SHORTEST = 1e-10


class Threshold(BaseModel):
    """One threshold on the calibrated probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=64)]
    value: Probability
    rate: Annotated[
        Probability,
        Field(
            description="Share of the other class that falls beyond it: false positives above, false negatives below"
        ),
    ]
    on: Annotated[str, Field(description="The pictures it was measured on, in words")]
    pictures: Annotated[int, Field(ge=0, description="How many of the other class those were")]


class Thresholds(BaseModel):
    """The pair between which a picture stays ``uncertain``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    authentic_below: Threshold
    ai_above: Threshold

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.authentic_below.value > self.ai_above.value:
            raise ValueError("authentic_below lies above ai_above")
        return self


class Calibration(BaseModel):
    """What `calibration.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["platt"] = "platt"
    a: Annotated[FiniteFloat, Field(gt=0)]
    b: FiniteFloat
    thresholds: Thresholds

    def probability(self, logit: float) -> float:
        """Calibrated probability in [0, 1] that a picture with this logit is machine-made."""
        return float(_sigmoid(np.asarray([self.a * logit + self.b], dtype=np.float64))[0])

    def verdict(self, p: float) -> VerdictName:
        """The verdict at a calibrated probability; a picture exactly on a threshold is ``uncertain``."""
        if p > self.thresholds.ai_above.value:
            return "ai_generated"
        if p < self.thresholds.authentic_below.value:
            return "authentic"
        return "uncertain"

    @property
    def threshold_ids(self) -> ThresholdIds:
        """The names that a verdict event carries."""
        return ThresholdIds(authentic_below=self.thresholds.authentic_below.id, ai_above=self.thresholds.ai_above.id)

    def to_json(self) -> bytes:
        """The file's bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str = CALIBRATION) -> Self:
        """Reads a calibration.

        Raises:
            BundleInvalid: Not JSON, or not a calibration; the message names the fields.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise BundleInvalid(f"{CALIBRATION} cannot be read: {faults(error)}", where=where) from error


def fit(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    on: str,
    false_positive_rate: float = 0.01,
    false_negative_rate: float = 0.05,
    weights: npt.ArrayLike | None = None,
    least_above: float | None = None,
) -> Calibration:
    """Fits Platt's two numbers and sets both thresholds on pictures that the network was not trained on.

    ``ai_above`` is the lowest threshold that at most ``false_positive_rate`` of the authentic pictures exceed,
    ``authentic_below`` the highest that at most ``false_negative_rate`` of the machine-made ones fall below. Where a
    good network lets the two cross, both move to their midpoint, which lowers both rates. The rates stored are the
    ones reached.

    Args:
        logits: Shape ``[n]``, one per picture.
        labels: Shape ``[n]``; 1 for machine-made, 0 for authentic.
        on: The pictures, in words; kept with the thresholds.
        false_positive_rate: Share of authentic pictures that may be called ``ai_generated``.
        false_negative_rate: Share of machine-made pictures that may be called ``authentic``.
        weights: What each picture counts in Platt's fit, shape ``[n]``; all the same if left out. Thresholds are set
            on plain shares.
        least_above: A logit that ``ai_above`` must not fall below, whatever the rate asks for.

    Raises:
        ModelError: Fewer than two of a class, a number that is not finite, or logits that rank the classes backwards.
    """
    x, y = _checked(logits, labels)
    counted = np.ones(x.size) if weights is None else np.asarray(weights, dtype=np.float64)
    a, b = _platt(x, y, counted * (x.size / counted.sum()))
    if a <= 0:
        raise ModelError(
            "the logits rank the classes backwards", where=on, remedy="Class 1 must be the machine-made one"
        )
    p = _sigmoid(a * x + b)
    authentic, machine = np.sort(p[y == 0]), np.sort(p[y == 1])
    above = float(authentic[authentic.size - 1 - int(false_positive_rate * authentic.size)])
    below = float(machine[int(false_negative_rate * machine.size)])
    if below > above:
        above = below = (above + below) / 2
    if least_above is not None:
        above = max(above, float(_sigmoid(np.asarray([a * least_above + b]))[0]))
    thresholds = Thresholds(
        authentic_below=Threshold(
            id=f"fnr-{false_negative_rate:g}",
            value=below,
            rate=float(np.mean(machine < below)),
            on=on,
            pictures=machine.size,
        ),
        ai_above=Threshold(
            id=f"fpr-{false_positive_rate:g}",
            value=above,
            rate=float(np.mean(authentic > above)),
            on=on,
            pictures=authentic.size,
        ),
    )
    return Calibration(a=a, b=b, thresholds=thresholds)


def expected_calibration_error(
    p: npt.ArrayLike, labels: npt.ArrayLike, *, weights: npt.ArrayLike | None = None, bins: int = 15
) -> float:
    """Mean distance between stated probability and observed share of machine-made pictures.

    Equal-width bins, weighted by their pictures (Guo et al., "On Calibration of Modern Neural Networks", 2017, eq. 3,
    for the positive class).

    Args:
        p: Calibrated probabilities, shape ``[n]``.
        labels: 1 for machine-made, 0 for authentic, shape ``[n]``.
        weights: What each picture counts, shape ``[n]``, none negative; all the same if left out.
        bins: Number of bins over [0, 1].
    """
    gaps = calibration_gaps(p, labels, bins=bins)
    counted = np.ones(len(gaps)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(np.abs(counted @ gaps).sum() / counted.sum())


def calibration_gaps(p: npt.ArrayLike, labels: npt.ArrayLike, *, bins: int = 15) -> Floats:
    """Stated probability less the truth, ``[n, bins]``, in the column of the picture's bin and 0 elsewhere.

    With weights ``[rounds, n]`` before it, one product gives every round's bins of `expected_calibration_error`.
    """
    stated, truth = _checked(p, labels, each=0)
    gaps = np.zeros((stated.size, bins))
    gaps[np.arange(stated.size), np.minimum((stated * bins).astype(np.int64), bins - 1)] = stated - truth
    return gaps


def _checked(values: npt.ArrayLike, labels: npt.ArrayLike, *, each: int = 2) -> tuple[Floats, Floats]:
    x = np.asarray(values, dtype=np.float64)
    y = np.asarray(labels, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise ModelError(f"scores of shape {x.shape} and labels of shape {y.shape} are not two equal, filled rows")
    if not np.isfinite(x).all() or not np.isin(y, (0.0, 1.0)).all():
        raise ModelError("scores must be finite and labels 0 or 1")
    if min((y == 0).sum(), (y == 1).sum()) < each:
        raise ModelError(f"at least {each} pictures of each class are needed")
    return x, y


def _platt(x: Floats, y: Floats, weights: Floats) -> tuple[float, float]:
    """Newton's method with halved steps on Platt's smoothed targets (Lin, Lin and Weng, Machine Learning 68, 2007)."""
    positives, negatives = float(weights @ y), float(weights @ (1 - y))
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    scale = float(np.abs(x).max()) or 1.0  # logits of any size give a Hessian that can be inverted
    z = x / scale
    a, b = 0.0, math.log((positives + 1) / (negatives + 1))
    loss = _loss(z, target, weights, a, b)
    for _ in range(_STEPS):
        p = _sigmoid(a * z + b)
        slope_a, slope_b = float((weights * (p - target)) @ z), float(weights @ (p - target))
        if max(abs(slope_a), abs(slope_b)) < _GRADIENT * x.size:
            break
        weight = weights * p * (1 - p)
        aa, ab, bb = float((weight * z * z).sum()) + _RIDGE, float((weight * z).sum()), float(weight.sum()) + _RIDGE
        determinant = aa * bb - ab * ab
        step_a = -(bb * slope_a - ab * slope_b) / determinant
        step_b = -(aa * slope_b - ab * slope_a) / determinant
        length = 1.0
        while (
            tried := _loss(z, target, weights, a + length * step_a, b + length * step_b)
        ) >= loss and length > _SHORTEST:
            length /= 2
        if tried >= loss:
            break
        a, b, loss = a + length * step_a, b + length * step_b, tried
    return a / scale, b


def _loss(z: Floats, target: Floats, weights: Floats, a: float, b: float) -> float:
    f = a * z + b
    return float(weights @ (np.logaddexp(0.0, f) - target * f))


def _sigmoid(f: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -f))
