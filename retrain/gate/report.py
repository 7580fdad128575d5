"""What the gate says, and the limits it holds a challenger to."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Margins:
    """How much a challenger may be worse on one set of pictures and still not be inferior.

    Attributes:
        fpr: Authentic pictures called `ai_generated`, each model at its own threshold.
        balanced_accuracy: Right at even odds, the mean of both classes.
        auc: Area under the ROC curve.
    """

    fpr: float = 0.02
    balanced_accuracy: float = 0.03
    auc: float = 0.02


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Everything the gate asks.

    Attributes:
        golden: Margins on the golden set.
        drifted: Margins on the drifted slice; wider, since it is small.
        gain: On the drifted slice the challenger must be ``superior``, or just ``not_inferior``.
        slice_budget: No tier, source or format may lose more of its pictures than this, where the loss is proven.
        fewest: Pictures of each class that the golden set must have, and in all any slice of it that is judged.
        fewest_drifted: Pictures of each class that the drifted slice must have.
        ece: Calibration error that the challenger may have beyond the champion's.
        parity: How much wider the false-positive rates of sources of authentic pictures may spread.
        latency: Inference time by the champion's, at most.
        size: Bytes of the bundle by the champion's, at most.
        confidence: Of every bound, one-sided.
        slice_only: Whether a challenger may pass where no golden set is configured.
    """

    golden: Margins = field(default_factory=Margins)
    drifted: Margins = field(default_factory=lambda: Margins(fpr=0.05, balanced_accuracy=0.05, auc=0.05))
    gain: Literal["superior", "not_inferior"] = "not_inferior"
    slice_budget: float = 0.05
    fewest: int = 20
    fewest_drifted: int = 10
    ece: float = 0.05
    parity: float = 0.1
    latency: float = 1.5
    size: float = 2.0
    confidence: float = 0.95
    slice_only: bool = False


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gate's answer.

    Attributes:
        passed: Whether the challenger may be registered.
        reasons: Every limit that was broken, in words; empty exactly where it passed.
        figures: What was measured, by name: ``golden_fpr_champion``, ``golden_fpr_challenger``, ``golden_fpr_change``,
            ``golden_fpr_change_low`` and ``_high`` (its one-sided bounds), and so on for ``balanced_accuracy``, ``auc``
            and the ``slice``; ``golden_disagreement``, ``latency_ratio``, ``size_ratio``, ``seconds``.
    """

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]
