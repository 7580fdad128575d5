"""Bets against a model on trial: evidence of harm that may be looked at after every record.

Each bet starts with a wealth of one and multiplies it by a factor whose expectation is at most one while the model does
no harm, whatever was seen before. Its wealth is then a supermartingale, and the chance that it *ever* reaches ``1 /
alpha`` is at most ``alpha``, however often and for however long one looks (J. Ville, "Étude critique de la notion de
collectif", 1939). Stakes are set from what was seen before the record they are put on: good ones make a bet quick, and
none can make it wrong.
"""

import math
from collections import deque
from statistics import NormalDist

_HIGHEST = 700.0
_DISAGREEMENT, _ERRORS, _WEIGHT = 0.1, 0.08, 20.0
_MOST_STAKE = 0.9
_LEAST_RATE, _MOST_RATE = 0.002, 0.9
_AIM, _ALWAYS_LEFT, _SURE = 2.0, 0.25, 1.5
_LEAST_PART, _MOST_PART = 0.05, 0.999
_NORMAL = NormalDist()


class Bet:
    """Wealth, kept as its logarithm."""

    def __init__(self) -> None:
        self._log = 0.0

    @property
    def wealth(self) -> float:
        """What one unit has become; large is bad for the model."""
        return math.exp(min(self._log, _HIGHEST))


class PairedBet(Bet):
    """Two models on the same uploads. Null: the challenger errs no more often than the champion.

    An error of the challenger alone multiplies the wealth by ``1 + stake``, one of the champion alone by ``1 - stake``;
    where both are right or both wrong nothing is learned (I. Waudby-Smith and A. Ramdas, "Estimating means of bounded
    random variables by betting", JRSS B 86, 2024, for a mean of at most zero).

    The stake is set to be rich in time, not to grow fastest: of a wealth that is the part ``Φ(z)`` of what is aimed at,
    with about m uploads to come on which the two differ, it is ``φ(z) / (Φ(z)·√m)`` (S. Browne, "Reaching goals by a
    deadline: digital options and continuous-time active portfolio management", Adv. Appl. Prob. 31, 1999). Such wealth
    comes near what is aimed at and gets there at the deadline only, so twice the goal is aimed at; and a bet that has
    lost does not stake the rest, because harm may begin late. Where the challenger has erred so much more often that
    the excess is sure, the stake is the excess, which finds gross harm early.

    Args:
        goal: Wealth that is to be reached, more than 1.
        within: Uploads after which it is to be reached; then, and in the last quarter, a quarter as many are planned
            for.
    """

    def __init__(self, goal: float, within: int) -> None:
        super().__init__()
        self._aim = _AIM * goal
        self._within = within
        self._seen = 0
        self._differed = 0
        self._excess = 0

    def see(self, *, champion_wrong: bool, challenger_wrong: bool) -> None:
        """Takes one upload that both have judged and whose truth is known."""
        stake = self._stake()
        self._seen += 1
        if champion_wrong == challenger_wrong:
            return
        self._differed += 1
        self._excess += 1 if challenger_wrong else -1
        self._log += math.log1p(stake if challenger_wrong else -stake)

    def _stake(self) -> float:
        differing = (self._differed + _DISAGREEMENT * _WEIGHT) / (self._seen + _WEIGHT)
        left = max(self._within - self._seen, self._within * _ALWAYS_LEFT, 1.0)
        part = min(_MOST_PART, max(_LEAST_PART, self.wealth / self._aim))
        z = _NORMAL.inv_cdf(part)
        timely = _NORMAL.pdf(z) / (part * math.sqrt(left * differing))
        sure = (self._excess - _SURE * math.sqrt(self._differed)) / max(1, self._differed)
        return min(_MOST_STAKE, max(timely, sure))


class ArmsBet(Bet):
    """Two models on different uploads. Null: the challenger errs no more often than the champion.

    Every upload of the challenger's is set against ``ratio`` of the champion's, first come first matched, and the
    wealth is multiplied by the likelihood ratio of "worse by ``harm``" to the pooled rate, which over such a block is
    an exact e-variable (R. Turner, A. Ly and P. Grünwald, "Generic E-variables for exact sequential k-sample tests that
    allow for optional stopping", 2021). The champion's rate is the one of the blocks before. Uploads without a
    counterpart wait, and do not count until they have one.

    Args:
        harm: Difference of error rates that is to be found, in (0, 1).
        ratio: Champion's uploads to each of the challenger's, as the traffic share gives it.
        rate: What is known of the champion's error rate at the start; a poor guess costs power, not truth.
        waiting: Uploads of an arm that wait at most; beyond that the oldest are let go unseen.
    """

    def __init__(self, harm: float, ratio: int, *, rate: float = _ERRORS, waiting: int = 4096) -> None:
        super().__init__()
        self._harm = harm
        self._ratio = ratio
        self._seen, self._errors = _WEIGHT, rate * _WEIGHT
        self._champion: deque[bool] = deque(maxlen=waiting)
        self._challenger: deque[bool] = deque(maxlen=waiting)

    def see(self, *, challenger: bool, wrong: bool) -> None:
        """Takes one upload whose truth is known; ``challenger`` says which of the two judged it."""
        (self._challenger if challenger else self._champion).append(wrong)
        while self._challenger and len(self._champion) >= self._ratio:
            errors = sum(self._champion.popleft() for _ in range(self._ratio))
            self._block(errors, self._challenger.popleft())

    def _block(self, errors: int, challenger_wrong: bool) -> None:
        champion = min(_MOST_RATE, max(_LEAST_RATE, self._errors / self._seen))
        challenger = min(1 - _LEAST_RATE, champion + self._harm)
        pooled = (self._ratio * champion + challenger) / (self._ratio + 1)
        self._log += errors * math.log(champion / pooled)
        self._log += (self._ratio - errors) * math.log((1 - champion) / (1 - pooled))
        self._log += math.log(challenger / pooled if challenger_wrong else (1 - challenger) / (1 - pooled))
        self._seen += self._ratio
        self._errors += errors


class RateBet(Bet):
    """Null: something bad happens in at most a share ``limit`` of the cases, whatever happened before.

    The wealth is multiplied by the likelihood ratio of the rate ``found`` to the limit: one on average at the limit,
    less below it.

    Args:
        limit: In (0, 1).
        found: The higher rate that is to be found, in (limit, 1).
    """

    def __init__(self, limit: float, found: float) -> None:
        super().__init__()
        self.limit = limit
        self._bad, self._fine = math.log(found / limit), math.log((1 - found) / (1 - limit))

    def see(self, *, bad: bool) -> None:
        """Takes one case."""
        self._log += self._bad if bad else self._fine
