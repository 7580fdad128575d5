"""An interval for rare events, and a test that may look after every label.

Clopper and Pearson's interval (Biometrika 26, 1934) never covers less than it says, which counts for rare events; for
shares near the middle `models.intervals.wilson` is closer.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

_LEVEL = 0.95
_BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.7])
_LEAST_RATE = 1e-3

Interval = tuple[float, float]


def clopper_pearson(hits: int, n: int, level: float = _LEVEL) -> Interval:
    """Interval of a share that covers at least ``level``; (0, 1) where nothing was seen."""
    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high


class Rise:
    """Tests after every observation whether a rate has risen above ``rate``; ever wrong with probability ``alpha``.

    A bet on failures multiplies its stake by 1 + λ(x − rate), in the mean by 1 at most while the rate has not risen
    (I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024). Part
    1/t(t+1) of the money is first staked at observation t, so that calm before the rise costs little; over all t that
    is one unit, and by Ville's inequality the whole reaches 1/alpha with probability alpha at most, however often one
    looks.

    Args:
        rate: The rate that counts as no rise.
        alpha: Probability of ever being wrong.
    """

    def __init__(self, rate: float, alpha: float) -> None:
        self.rate = max(rate, _LEAST_RATE)
        self._alpha = alpha
        self._lambdas: npt.NDArray[np.float64] = _BETS / self.rate
        self._staked = np.zeros(len(_BETS))
        self._seen = 0

    @property
    def evidence(self) -> float:
        """The money; it was one unit at first."""
        return float(self._staked.mean()) + 1.0 / (self._seen + 1)

    @property
    def proven(self) -> bool:
        """Whether the rise is proven."""
        return self.evidence >= 1.0 / self._alpha

    def see(self, failed: bool) -> None:
        """Takes one observation."""
        self._seen += 1
        fresh = 1.0 / (self._seen * (self._seen + 1))
        self._staked = (self._staked + fresh) * (1.0 + self._lambdas * (float(failed) - self.rate))
