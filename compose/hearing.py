"""What every model said of the new family and of photographs, and what a promotion was worth by that."""

from collections import defaultdict
from collections.abc import Collection

from compose.loop_view import Numbers, Spoken
from compose.share import Share
from producers.traffic.scores import Tally
from stream.events import Arm, Truth, Verdict


class Hearing:
    """Counts verdicts by model and arm.

    Args:
        newcomers: The families that enter.
    """

    def __init__(self, newcomers: Collection[str]) -> None:
        self._newcomers = newcomers
        self._heard: defaultdict[tuple[str, Arm], Tally] = defaultdict(Tally)

    def add(self, truth: Truth, verdict: Verdict) -> None:
        """Counts a verdict; one on another family's pictures is no matter here."""
        heard = self._heard[verdict.model.digest, verdict.arm]
        if truth.family in self._newcomers or truth.label == "authentic":
            heard.add(truth.label, verdict.verdict, verdict.p_ai)

    def spoken(self) -> tuple[Spoken, ...]:
        """Every model in every arm that it spoke in."""
        return tuple(
            Spoken(digest, arm, heard.total, _accuracy(heard), _fpr(heard))
            for (digest, arm), heard in self._heard.items()
        )

    def numbers(self, before: str, after: str | None) -> Numbers:
        """Two champions compared by their digests; ``after`` is None while nobody was promoted."""
        first = self._heard.get((before, "champion"), Tally())
        promoted = self._heard.get((after, "champion"), Tally()) if after is not None else Tally()
        return Numbers(_accuracy(first), _accuracy(promoted), _fpr(first), _fpr(promoted))


def _accuracy(heard: Tally) -> Share:
    """On the new family, the only machine-made pictures that are counted; `uncertain` counts as wrong."""
    return Share.of_counts(heard.detected, heard.machine_made)


def _fpr(heard: Tally) -> Share:
    return Share.of_counts(heard.false_alarms, heard.authentic)
