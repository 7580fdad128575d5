"""What the gate says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gate's answer.

    Attributes:
        passed: Whether the challenger may be registered.
        reasons: Every limit that was broken, in words; empty exactly where it passed. What is wrong with the labels
            comes first, then the golden set, false positives before all else.
        figures: What was measured, by name: ``golden_fpr_champion``, ``golden_fpr_challenger``, ``golden_fpr_change``,
            ``golden_fpr_change_low`` and ``_high`` (its one-sided bounds), and so on for ``balanced_accuracy``, ``auc``
            and the ``slice``; ``golden_disagreement``, ``latency_ratio``, ``size_ratio``, ``seconds``.
    """

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]
