"""Wilson's score interval: how well a share is known.

E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). It holds near 0
and 1, where rates of false alarms are. It takes the trials to be independent, which uploads of the same picture are
not.
"""

import math

Z95 = 1.959963984540054


def wilson(successes: float, trials: float, z: float = Z95) -> tuple[float, float] | None:
    """Score interval of a share, 95 % unless told otherwise; None without trials.

    Args:
        successes: How many of the trials; a fraction where the trials are an effective number.
        trials: How many there were.
        z: Quantile of the normal distribution that each bound is drawn at.
    """
    if trials == 0:
        return None
    share = successes / trials
    scale = 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    reach = z * math.sqrt(share * (1.0 - share) / trials + z * z / (4 * trials * trials)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    return low, 1.0 if successes == trials else min(1.0, centre + reach)
