"""Distribution-free bounds for quantiles over chips, from order statistics. No parametric fit lives here."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from faultsim.stats.estimate import QuantileEstimate, check_level, finite_sample


def quantile_estimate(values: ArrayLike, quantile: float, *, level: float = 0.95) -> QuantileEstimate:
    """Estimate a quantile over chips with an interval between two of the values seen, for any law.

    The number of chips below the true quantile is binomial, so two order statistics bound it, [Conover1999]_
    sec. 3.2. A far quantile needs many chips (72 for a two-sided 95 % bound of the 5th percentile, see
    `trials_for_quantile`); with fewer, the end that cannot be bounded is the range of the sample and is
    flagged as open.

    Args:
        values: One value a chip, any unit, shape (chips,), at least 1; finite.
        quantile: Which quantile, dimensionless, strictly between 0 and 1: 0.05 for the 5th percentile.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1; half of the rest to each side.

    Returns:
        The interval in the unit of the values, `best` being the smallest value with at least the share
        `quantile` of the sample at or below it, flags for open ends, and the exact coverage.

    Raises:
        ValueError: If there is no value, one is not finite, or the quantile or the level are out of range.

    Examples:
        >>> quantile_estimate(range(1, 101), 0.5)[:3]
        (40.0, 50.0, 61.0)
        >>> few = quantile_estimate([0.91, 0.90, 0.88, 0.91], 0.05)
        >>> few.low, few.low_open, few.two_sided
        (0.88, True, False)

    References:
        .. [Conover1999] W. J. Conover. Practical Nonparametric Statistics, 3rd ed. Wiley, 1999.
    """
    check_level(level)
    _check_quantile(quantile)
    sample = np.sort(finite_sample(values, at_least=1))
    n, tail = sample.size, (1 - level) / 2
    below = bdtr(np.arange(n), n, quantile)  # P(at most i chips lie below the quantile), i < n
    lower = int(np.count_nonzero(below <= tail))  # order statistic from 1; 0: none bounds it
    upper = int(np.count_nonzero(below < 1 - tail)) + 1  # n + 1: none bounds it
    best = sample[min(n, max(1, math.ceil(n * quantile - 1e-9))) - 1]
    missed_low = float(below[lower - 1]) if lower else 0.0
    missed_high = 1.0 - float(below[upper - 1]) if upper <= n else 0.0
    return QuantileEstimate(
        low=float(sample[max(lower, 1) - 1]),
        best=float(best),
        high=float(sample[min(upper, n) - 1]),
        low_open=lower == 0,
        high_open=upper > n,
        coverage=1.0 - missed_low - missed_high,
    )


def trials_for_quantile(quantile: float, *, level: float = 0.95) -> int:
    """Return the smallest number of chips with which `quantile_estimate` bounds the quantile on both sides.

    Args:
        quantile: Which quantile, dimensionless, strictly between 0 and 1.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Raises:
        ValueError: If the quantile or the level are out of range.

    Examples:
        >>> trials_for_quantile(0.05), trials_for_quantile(0.5)
        (72, 6)
    """
    check_level(level)
    _check_quantile(quantile)
    far = math.log(max(quantile, 1 - quantile))
    return max(1, math.ceil(math.log((1 - level) / 2) / far - 1e-9))


def _check_quantile(quantile: float) -> None:
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"quantile {quantile!r} is out of range: give a number strictly between 0 and 1")
