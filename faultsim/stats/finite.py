"""Intervals for a proportion of a finite population sampled without replacement. One stratum only; see `stratified`."""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri
from scipy.stats import binom

from faultsim.stats.estimate import Estimate, check_counts, check_level
from faultsim.stats.proportions import clopper_pearson

_LARGEST_EXACT = 1 << 53  # above it a float does not hold each whole number
_TIE = 1e-9
"""A chance that is half the error but for rounding, as a part of it, still counts: both ends then decide alike."""


def hypergeometric(passed: int, trials: int, population: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion of *population* units from *trials* different ones: exact, it covers at least the level.

    The counterpart of `clopper_pearson` for sampling without replacement, [Katz1953]_: each end is the last number of
    units for which so few (so many) hits still have a chance of half the error. A census (``trials ==
    population``) has no width. Valid only if no unit was drawn twice.

    Args:
        passed: Sampled units that did it, ``0 <= passed <= trials``.
        trials: Different units sampled, ``1 <= trials <= population``.
        population: Units there are. Above 2⁵³ the interval is Clopper and Pearson's, cut to what is possible: the
            two then differ by about half the share sampled.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Returns:
        ``Estimate(low, best, high)``; both ends are whole numbers of units divided by `population` (up to 2⁵³), and
        the share of the sample lies between them: all but a census can end between two whole numbers.

    Raises:
        ValueError: If the counts or the level are out of range.

    Examples:
        >>> [round(end, 3) for end in hypergeometric(0, 100, 320)]
        [0.0, 0.0, 0.028]
        >>> hypergeometric(3, 320, 320)
        Estimate(low=0.009375, best=0.009375, high=0.009375)

    References:
        .. [Katz1953] L. Katz. Confidence intervals for the number showing a certain characteristic in a population
           when sampling is without replacement. JASA 48(262):256-261, 1953.
    """
    passed, trials, population = int(passed), int(trials), int(population)  # NumPy's own wrap around in the products
    least, most = _possible(passed, trials, population)
    check_level(level)
    tail = (1 - level) / 2 * (1 - _TIE)
    if trials < population > _LARGEST_EXACT:
        wide = clopper_pearson(passed, trials, level=level)
        return Estimate(max(wide.low, least / population), wide.best, min(wide.high, most / population))
    low, high = least, most
    if passed > 0:
        low = _first(least, most, lambda units: 1 - _at_most(passed - 1, population, units, trials) > tail)
    if passed < trials:
        high = most - _first(0, most - least, lambda fewer: _at_most(passed, population, most - fewer, trials) > tail)
    low, high = min(low, passed * population // trials), max(high, -(-passed * population // trials))
    return Estimate(low / population, passed / trials, high / population)


def wilson_finite(passed: int, trials: int, population: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion with Wilson's interval and the finite-population correction.

    The variance ``p(1-p)/n`` of Wilson's test is multiplied by ``(N-n)/(N-1)``, [Cochran1977]_, and the ends
    are cut to what the unseen units allow. Its coverage is close to the level on average, not guaranteed
    (`hypergeometric` is). A census has no width; with ``population`` to infinity it is `wilson`.

    Args:
        passed: Sampled units that did it, ``0 <= passed <= trials``.
        trials: Different units sampled, ``1 <= trials <= population``.
        population: Units there are.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Raises:
        ValueError: If the counts or the level are out of range.

    Examples:
        >>> [round(end, 3) for end in wilson_finite(0, 100, 320)]
        [0.0, 0.0, 0.026]

    References:
        .. [Cochran1977] W. G. Cochran. Sampling Techniques, 3rd ed. Wiley, 1977, ch. 3.
    """
    least, most = _possible(passed, trials, population)
    check_level(level)
    share = passed / trials
    if trials == population:
        return Estimate(share, share, share)
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    per_z2 = z2 * (population - trials) / (population - 1) / trials
    centre = (share + per_z2 / 2) / (1 + per_z2)
    half = math.sqrt(per_z2 * share * (1 - share) + per_z2 * per_z2 / 4) / (1 + per_z2)
    low = least / population if passed == 0 else max(least / population, centre - half)
    high = most / population if passed == trials else min(most / population, centre + half)
    return Estimate(low, share, high)


def _possible(passed: int, trials: int, population: int) -> tuple[int, int]:
    """Return the fewest and the most units of the population that can be hits, given the sample."""
    check_counts(passed, trials)
    if trials > population:
        raise ValueError(
            f"trials = {trials} is out of range: the population holds only {population}, and no unit counts twice"
        )
    return passed, population - (trials - passed)


def _at_most(hits: int, population: int, units: int, trials: int) -> float:
    """Return the probability of at most *hits* among *trials* of *population* units of which *units* do it.

    scipy's own law takes seconds for one interval of a large population, and loses digits there.
    """
    if hits * population < trials * units:  # below the mean: the terms fall towards fewer hits
        return _tail(hits, population, units, trials)
    return 1 - _tail(trials - hits - 1, population, population - units, trials)  # at least hits + 1, by the misses


def _tail(hits: int, population: int, units: int, trials: int) -> float:
    """Return the sum over ``0..hits`` of the hypergeometric law, for *hits* at or below about the mean."""
    fewest = max(0, trials - (population - units))
    if hits < fewest:
        return 0.0
    share = trials / population  # the law as a quotient of binomials, which keep their digits [Loader2000]
    first = binom.pmf(hits, units, share) * binom.pmf(trials - hits, population - units, share)
    first = float(first / binom.pmf(trials, population, share))
    k = np.arange(hits, fewest, -1, dtype=np.float64)
    fall = k * (population - units - trials + k) / ((units - k + 1) * (trials - k + 1))
    return first * (1 + float(np.cumprod(fall).sum()))


def _first(start: int, stop: int, holds: Callable[[int], bool]) -> int:
    """Return the first whole number of ``start..stop`` at which a condition that stays true holds; it holds at stop."""
    while start < stop:
        middle = (start + stop) // 2
        if holds(middle):
            stop = middle
        else:
            start = middle + 1
    return start
