"""All the evidence against one challenger, weighed together.

Seven bets (see `retrain.rollout.betting`) run from the first shadow verdict to the end of the rollout. Their weighted
mean is a wealth of its own, so one limit, ``1 / alpha``, bounds the chance that a challenger which does no harm is ever
rolled back, and weak signs in several places add up.

Accuracy is taken at even odds, so that an `uncertain` verdict is neither excused nor punished; a false positive is an
authentic upload that was called `ai_generated` at the model's own threshold.
"""

from collections import Counter, deque
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from retrain.rollout.betting import ArmsBet, Bet, PairedBet, RateBet
from stream.events import ShadowVerdict, TruthName, Verdict, VerdictName

_EVEN = 0.5
_HALF, _MOSTLY = 0.5, 0.8
_RATIOS = 512
_SPEEDS = 64
_FEWEST_SPEEDS = 8
# What each bet gets of the stake. Accuracy, where both models judged the same upload, is the surest sign there is.
_WEIGHTS = {
    "accuracy": 0.6,
    "accuracy by arm": 0.12,
    "false positives": 0.12,
    "false positives by arm": 0.04,
    "disagreement": 0.04,
    "latency": 0.04,
    "errors": 0.04,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as harm.

    Attributes:
        alpha: Chance at most that a challenger which does no harm is rolled back.
        harm: Difference of error rates that the bets on the arms are set to find.
        disagreement: Share of uploads on which champion and challenger may stand on different sides of even odds; what
            the gate foresaw, with a margin.
        latency: The challenger may take this many times the champion's inference time, in the median.
        errors: Share of uploads that the challenger may fail on.
        within: Labelled uploads within which harm is to be found, if it can be.
    """

    alpha: float = 0.1
    harm: float = 0.05
    disagreement: float = 0.25
    latency: float = 2.0
    errors: float = 0.01
    within: int = 500


class Opinion(NamedTuple):
    """What one model said of one upload."""

    p_ai: float
    verdict: VerdictName

    def wrong(self, truth: TruthName) -> bool:
        """Whether it is on the wrong side of even odds."""
        return (self.p_ai >= _EVEN) != (truth == "ai_generated")

    @property
    def accuses(self) -> bool:
        """Whether it calls the upload machine-made."""
        return self.verdict == "ai_generated"


class Evidence:
    """What was seen of a challenger so far.

    Args:
        limits: What counts as harm.
        share: Of the uploads that the challenger speaks for in the canary.
    """

    def __init__(self, limits: Limits, share: float) -> None:
        self.limits = limits
        disagreement = min(0.98, limits.disagreement)
        ratio = max(1, min(9, round((1 - share) / share)))
        # Each must be able to prove harm by itself; about half of the labels are of authentic uploads.
        self._pairs = PairedBet(1 / (limits.alpha * _WEIGHTS["accuracy"]), limits.within)
        self._false_pairs = PairedBet(1 / (limits.alpha * _WEIGHTS["false positives"]), limits.within // 2)
        self._arms = ArmsBet(limits.harm, ratio)
        self._false_arms = ArmsBet(limits.harm, ratio, rate=0.02)
        self._disagreement = RateBet(disagreement, disagreement + 0.4 * (1 - disagreement))
        self._latency = RateBet(_HALF, _MOSTLY)
        self._errors = RateBet(limits.errors, min(0.5, 10 * limits.errors))
        self._bets: dict[str, Bet] = dict(
            zip(
                _WEIGHTS,
                (
                    self._pairs, self._arms, self._false_pairs, self._false_arms,
                    self._disagreement, self._latency, self._errors,
                ),
                strict=True,
            )
        )  # fmt: skip
        self._counts: Counter[str] = Counter()
        self._times: tuple[float, float] = (0.0, 0.0)
        self._ratios: deque[float] = deque(maxlen=_RATIOS)
        self._champion_ms: deque[float] = deque(maxlen=_SPEEDS)

    def shadowed(self, seen: ShadowVerdict) -> None:
        """Both models judged an upload, and the champion spoke."""
        self._count("shadowed")
        parted = (seen.p_ai >= _EVEN) != (seen.champion_p_ai >= _EVEN)
        self._disagreement.see(bad=parted)
        self._errors.see(bad=False)
        self._count("disagreed", parted)
        # Uploads of one batch share its time: they are one observation, or noise would count as proof.
        if seen.infer_ms > 0 and seen.champion_infer_ms > 0 and (seen.infer_ms, seen.champion_infer_ms) != self._times:
            self._times = (seen.infer_ms, seen.champion_infer_ms)
            self._timed(seen.infer_ms / seen.champion_infer_ms)

    def spoken(self, verdict: Verdict, *, challenger: bool) -> None:
        """One of the arms spoke in the canary."""
        self._count("spoken by challenger" if challenger else "spoken by champion")
        infer = verdict.timings_ms.infer
        if not challenger:
            if infer > 0 and (not self._champion_ms or infer != self._champion_ms[-1]):
                self._champion_ms.append(infer)
            return
        self._errors.see(bad=False)
        if infer > 0 and infer != self._times[0] and len(self._champion_ms) >= _FEWEST_SPEEDS:
            self._times = (infer, 0.0)
            self._timed(infer / median(self._champion_ms))

    def failed(self) -> None:
        """The challenger could not judge an upload."""
        self._count("failed")
        self._errors.see(bad=True)

    def told_of_pair(self, truth: TruthName, champion: Opinion, challenger: Opinion) -> None:
        """The truth about an upload that both models judged."""
        self._count("pairs")
        self._count("champion wrong in pairs", champion.wrong(truth))
        self._count("challenger wrong in pairs", challenger.wrong(truth))
        self._pairs.see(champion_wrong=champion.wrong(truth), challenger_wrong=challenger.wrong(truth))
        if truth == "authentic":
            self._count("authentic pairs")
            self._count("champion false in pairs", champion.accuses)
            self._count("challenger false in pairs", challenger.accuses)
            self._false_pairs.see(champion_wrong=champion.accuses, challenger_wrong=challenger.accuses)

    def told_of_arm(self, truth: TruthName, said: Opinion, *, challenger: bool) -> None:
        """The truth about an upload that one arm spoke for in the canary."""
        arm = "challenger" if challenger else "champion"
        self._count(f"{arm} labels")
        self._count(f"{arm} wrong", said.wrong(truth))
        self._arms.see(challenger=challenger, wrong=said.wrong(truth))
        if truth == "authentic":
            self._count(f"{arm} authentic")
            self._count(f"{arm} false", said.accuses)
            self._false_arms.see(challenger=challenger, wrong=said.accuses)

    @property
    def wealth(self) -> float:
        """The weighted mean of all bets; at ``1 / alpha`` harm is proven."""
        return sum(weight * self._bets[name].wealth for name, weight in _WEIGHTS.items())

    @property
    def proven(self) -> bool:
        """Whether harm is proven at the stated alpha."""
        return self.wealth >= 1 / self.limits.alpha

    @property
    def worst(self) -> str:
        """What speaks most against the challenger, in words."""
        name = max(_WEIGHTS, key=lambda name: _WEIGHTS[name] * self._bets[name].wealth)
        found = self.figures
        words = {
            "accuracy": ("accuracy on the same labelled uploads", "accuracy_challenger", "accuracy_champion"),
            "accuracy by arm": ("accuracy on labelled uploads", "arm_accuracy_challenger", "arm_accuracy_champion"),
            "false positives": ("false positives on the same authentic uploads", "fpr_challenger", "fpr_champion"),
            "false positives by arm": ("false positives", "arm_fpr_challenger", "arm_fpr_champion"),
        }
        if name in words:
            what, own, other = words[name]
            return f"{what}: {found[own]:.1%} against the champion's {found[other]:.1%}"
        if name == "disagreement":
            share, limit = found["disagreement"], self.limits.disagreement
            return f"disagreement with the champion on {share:.1%} of the uploads, {limit:.1%} was to be expected"
        if name == "latency":
            return f"latency: {found['latency_ratio']:.2f} times the champion's, the limit is {self.limits.latency:g}"
        return f"errors: {self._counts['failed']} uploads that it could not judge"

    @property
    def figures(self) -> dict[str, float]:
        """What was measured, by name; a rate of nothing is left out."""
        count = self._counts
        found = {
            "evidence": round(min(self.wealth, 1e9), 4),
            "evidence_needed": round(1 / self.limits.alpha, 4),
            "records_shadow": float(count["shadowed"]),
            "records_canary": float(count["spoken by challenger"]),
            "labels_pairs": float(count["pairs"]),
            "labels_challenger": float(count["challenger labels"]),
            "labels_champion": float(count["champion labels"]),
            "errors": float(count["failed"]),
        }
        if self._ratios:
            found["latency_ratio"] = round(median(self._ratios), 4)
        rates = {
            "disagreement": ("disagreed", "shadowed", False),
            "accuracy_champion": ("champion wrong in pairs", "pairs", True),
            "accuracy_challenger": ("challenger wrong in pairs", "pairs", True),
            "fpr_champion": ("champion false in pairs", "authentic pairs", False),
            "fpr_challenger": ("challenger false in pairs", "authentic pairs", False),
            "arm_accuracy_champion": ("champion wrong", "champion labels", True),
            "arm_accuracy_challenger": ("challenger wrong", "challenger labels", True),
            "arm_fpr_champion": ("champion false", "champion authentic", False),
            "arm_fpr_challenger": ("challenger false", "challenger authentic", False),
        }
        for name, (part, whole, turned) in rates.items():
            if count[whole]:
                share = count[part] / count[whole]
                found[name] = round(1 - share if turned else share, 4)
        return found

    def _timed(self, ratio: float) -> None:
        self._ratios.append(ratio)
        self._latency.see(bad=ratio > self.limits.latency)

    def _count(self, name: str, happened: bool = True) -> None:
        self._counts[name] += happened
