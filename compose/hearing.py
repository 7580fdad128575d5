"""What every model said of the new family and of photographs, and what a promotion was worth by that."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from compose.loop_view import Numbers, Spoken
from compose.share import Share
from stream.events import Arm, Truth, Verdict


@dataclass(slots=True)
class _Heard:
    """Counts of one model in one arm."""

    newcomers: int = 0
    recognised: int = 0
    photographs: int = 0
    accused: int = 0

    @property
    def accuracy(self) -> Share:
        return Share.of_counts(self.recognised, self.newcomers)

    @property
    def fpr(self) -> Share:
        return Share.of_counts(self.accused, self.photographs)


class Hearing:
    """Counts verdicts by model and arm.

    Args:
        newcomers: The families that enter.
    """

    def __init__(self, newcomers: Collection[str]) -> None:
        self._newcomers = newcomers
        self._heard: defaultdict[tuple[str, Arm], _Heard] = defaultdict(_Heard)

    def add(self, truth: Truth, verdict: Verdict) -> None:
        """Counts a verdict; one on another family's pictures is no matter here."""
        heard = self._heard[verdict.model.digest, verdict.arm]
        said_ai = verdict.verdict == "ai_generated"
        if truth.family in self._newcomers:
            heard.newcomers += 1
            heard.recognised += said_ai
        elif truth.label == "authentic":
            heard.photographs += 1
            heard.accused += said_ai

    def spoken(self) -> tuple[Spoken, ...]:
        """Every model in every arm that it spoke in."""
        return tuple(
            Spoken(digest, arm, heard.newcomers + heard.photographs, heard.accuracy, heard.fpr)
            for (digest, arm), heard in self._heard.items()
        )

    def numbers(self, before: str, after: str | None) -> Numbers:
        """Two champions compared by their digests; ``after`` is None while nobody was promoted."""
        first = self._heard.get((before, "champion"), _Heard())
        promoted = self._heard.get((after, "champion"), _Heard()) if after is not None else _Heard()
        return Numbers(first.accuracy, promoted.accuracy, first.fpr, promoted.fpr)
