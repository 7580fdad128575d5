"""The gate: whether a challenger is good enough to be registered, and if not, why not, in words."""

from retrain.gate.report import GateReport
from retrain.gate.run import evaluate

__all__ = ["GateReport", "evaluate"]
