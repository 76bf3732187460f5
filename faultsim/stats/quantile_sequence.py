"""A confidence sequence for a quantile over chips: bounds that hold at every number of trials at once."""

import math
from bisect import insort

from numpy.typing import ArrayLike
from scipy.special import betainc, betaln

from faultsim.stats.estimate import QuantileEstimate, check_level, finite_sample


class QuantileSequence:
    """Bounds of one quantile of any law, from order statistics, valid at all trials at once; values in trial order.

    The number of chips at or below the true quantile gains at least `quantile` a trial on average, and the number
    strictly below gains at most that. Against each, a mixture of likelihood ratios (a beta law cut at the quantile)
    is a supermartingale, so that by Ville's inequality it exceeds ``2/alpha`` with probability at most ``alpha/2``
    ever: the beta-binomial bound of [Howard2022]_ sec. 3, one-sided on each side. The price of peeking: the 5th
    percentile is bounded on both sides after 99 chips at 95 %, where one fixed look needs 72.

    Args:
        quantile: Which quantile, strictly between 0 and 1: 0.05 for the 5th percentile.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Raises:
        ValueError: If an argument, or later a value, is out of range.

    Examples:
        >>> run = QuantileSequence(0.5)
        >>> run.update([37 * i % 101 for i in range(1, 101)])  # 1 to 100, shuffled
        >>> got = run.interval()
        >>> got.low, got.best, got.high, got.two_sided
        (35.0, 50.0, 66.0, True)

    References:
        .. [Howard2022] S. R. Howard, A. Ramdas. Sequential estimation of quantiles with applications to A/B testing and
           best-arm identification. Bernoulli 28(3):1704-1728, 2022.
    """

    name = "beta-binomial confidence sequence of a quantile"

    def __init__(self, quantile: float, *, level: float = 0.95) -> None:
        check_level(level)
        if not 0.0 < quantile < 1.0:
            raise ValueError(f"quantile {quantile!r} is out of range: give a number strictly between 0 and 1")
        self.quantile = quantile
        self.level = level
        self._sorted: list[float] = []
        self._low, self._high = -math.inf, math.inf
        self._few, self._many = 0, 0  # fewest chips at or below that are believed; most misses strictly below

    @property
    def trials(self) -> int:
        """How many values were given."""
        return len(self._sorted)

    def update(self, values: ArrayLike) -> None:
        """Append the values of the next trials, in trial order.

        Raises:
            ValueError: If a value is not finite.
        """
        for value in finite_sample(values, at_least=0).tolist():
            insort(self._sorted, value)
            n = len(self._sorted)
            while self._too_few(self._few, n, self.quantile):
                self._few += 1
            while self._too_few(self._many, n, 1 - self.quantile):
                self._many += 1
            if self._few:  # at least this many lie at or below the quantile
                self._low = max(self._low, self._sorted[self._few - 1])
            if self._many:  # at least this many lie at or above it
                self._high = min(self._high, self._sorted[n - self._many])

    def interval(self) -> QuantileEstimate:
        """Return the bounds after all trials so far, intersected over them; an open end shows the range of the sample.

        Raises:
            ValueError: If no value was given.
        """
        if not self._sorted:
            raise ValueError("0 trials are too few: a quantile needs at least 1")
        n = len(self._sorted)
        best = self._sorted[min(n, max(1, math.ceil(n * self.quantile - 1e-9))) - 1]
        low_open, high_open = math.isinf(self._low), math.isinf(self._high)
        low = self._sorted[0] if low_open else self._low
        high = self._sorted[-1] if high_open else self._high
        return QuantileEstimate(min(low, best), best, max(high, best), low_open, high_open, self.level)

    def _too_few(self, count: int, n: int, rate: float) -> bool:
        """Return whether *count* of *n* is evidence of ``2/alpha`` against a rate of at least *rate*."""
        if count >= rate * n:
            return False
        spread = 1 / min(rate, 1 - rate)
        a, b = rate * spread, (1 - rate) * spread
        log = betaln(a + count, b + n - count) - betaln(a, b) - count * math.log(rate) - (n - count) * math.log1p(-rate)
        log += math.log(betainc(a + count, b + n - count, rate)) - math.log(betainc(a, b, rate))
        return bool(log >= math.log(2 / (1 - self.level)))
