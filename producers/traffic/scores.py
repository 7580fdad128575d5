"""How right the verdicts were: the counts, the rates made of them, and their intervals.

Definitions, for uploads that have both a truth and a verdict:

* ``coverage``: share of them that were decided, that is not `uncertain`.
* ``accuracy``: right verdicts over decided ones. Read it together with ``coverage``.
* ``accuracy_forced``: share right if uploads are called `ai_generated` where ``p_ai`` ≥ .5 and `authentic` elsewhere.
* ``fpr``: photographs called `ai_generated` over all photographs; an abstention is no false alarm.
* ``detection_rate``: machine-made pictures called `ai_generated` over all machine-made ones; an abstention is a miss.
"""

from dataclasses import dataclass
from typing import Any

from models.intervals import wilson
from stream.events import TruthName, VerdictName

_HALF = 0.5


@dataclass(slots=True)
class Tally:
    """Counts of uploads with both a truth and a verdict."""

    authentic: int = 0
    machine_made: int = 0
    false_alarms: int = 0
    detected: int = 0
    cleared: int = 0
    missed: int = 0
    forced_right: int = 0

    def add(self, truth: TruthName, verdict: VerdictName, p_ai: float) -> None:
        """Counts one upload."""
        fake = truth == "ai_generated"
        self.machine_made += fake
        self.authentic += not fake
        self.forced_right += fake == (p_ai >= _HALF)
        if verdict == "ai_generated":
            self.detected += fake
            self.false_alarms += not fake
        elif verdict == "authentic":
            self.missed += fake
            self.cleared += not fake

    @property
    def total(self) -> int:
        """Uploads counted."""
        return self.authentic + self.machine_made

    @property
    def decided(self) -> int:
        """Uploads whose verdict was not `uncertain`."""
        return self.false_alarms + self.detected + self.cleared + self.missed

    def report(self) -> dict[str, Any]:
        """Counts, rates and 95 % intervals; a rate of nothing is None."""
        rates = {
            "accuracy": (self.detected + self.cleared, self.decided),
            "coverage": (self.decided, self.total),
            "accuracy_forced": (self.forced_right, self.total),
            "fpr": (self.false_alarms, self.authentic),
            "detection_rate": (self.detected, self.machine_made),
        }
        report: dict[str, Any] = {"uploads": self.total, "uncertain": self.total - self.decided}
        for name, (part, whole) in rates.items():
            interval = wilson(part, whole)
            report[name] = round(part / whole, 5) if whole else None
            report[f"{name}_ci95"] = [round(bound, 5) for bound in interval] if interval else None
        return report
