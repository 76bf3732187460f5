"""Intervals for the mean of paired differences, which hold where few pairs differ. The test lives in `signs`."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from faultsim.stats.betting import BettingSequence
from faultsim.stats.estimate import Estimate
from faultsim.stats.finite import hypergeometric
from faultsim.stats.means import t_interval
from faultsim.stats.proportions import clopper_pearson

_HALVINGS = 60
_ALIKE = 1e-12
_FEW, _FEW_OF = 50, 4  # effective pairs that carry the differences: fewer than this, and than this part of all


def paired_interval(
    apart: NDArray[np.float64], *, level: float, span: float, population: int | None = None
) -> Estimate:
    """Estimate the mean of differences in ``[-span, span]`` of pairs, each drawn once.

    Which interval: `tango` where every pair differs by *span* or not at all; bets on a bounded mean where all differ by
    the same; else Student's t. Where few pairs carry the differences, t does not know of those that were not drawn: as
    many pairs as Clopper-Pearson allows unseen may then differ by *span* either way. Few is an effective number
    ``(Σ|d|)² / Σd²`` below 50 and below a quarter of the pairs.

    Args:
        apart: One difference a pair, finite, shape (pairs,), at least 1.
        level: Two-sided confidence, strictly between 0 and 1.
        span: The largest difference possible.
        population: Pairs there are, none drawn twice: a census has no width. None: no end.

    Raises:
        ValueError: If there are more pairs than in the population.
    """
    pairs = int(apart.size)
    mean = min(max(math.fsum(apart) / pairs, -span), span)
    if population is not None and pairs > population:
        raise ValueError(f"{pairs} pairs of a population of {population} are too many: no pair counts twice")
    if pairs == population:
        return Estimate(mean, mean, mean)
    sizes = np.abs(apart)
    if np.all((sizes <= _ALIKE * span) | (sizes >= (1 - 1e-9) * span)):
        first, second = (int(np.count_nonzero(sign * apart > span / 2)) for sign in (1, -1))
        found = tango(first, second, pairs, level=level, population=population)
        return Estimate(*(span * end for end in found))
    if np.ptp(apart) <= _ALIKE * span:
        run = BettingSequence(level=level, planned=pairs, population=population)
        run.update(np.clip((apart / span + 1) / 2, 0.0, 1.0))
        low, _, high = run.interval()
        return Estimate(min(mean, span * (2 * low - 1)), mean, max(mean, span * (2 * high - 1)))
    found = t_interval(apart, level=level)
    shrunk = 1.0 if population is None else math.sqrt((population - pairs) / (population - 1))
    low, high = mean - shrunk * (found.best - found.low), mean + shrunk * (found.high - found.best)
    if math.fsum(sizes) ** 2 < min(_FEW, pairs / _FEW_OF) * math.fsum(sizes**2):
        bound = (
            clopper_pearson(0, pairs, level=level)
            if population is None
            else hypergeometric(0, pairs, population, level=level)
        )
        low, high = min(low, mean - bound.high * (span + mean)), max(high, mean + bound.high * (span - mean))
    return Estimate(max(low, -span), mean, min(high, span))


def tango(up: int, down: int, pairs: int, *, level: float = 0.95, population: int | None = None) -> Estimate:
    """Estimate the difference of two paired proportions with Tango's score interval, [Tango1998]_.

    A difference is kept if the one seen is within z standard errors *of the proportions that it would need*, so few
    discordant pairs leave a width, as does none. Edwards' correction of 1 is taken off the distance, [Edwards1948]_: at
    a difference of 0 this is then McNemar's corrected test. It costs width and makes the coverage at least the level in
    all simulations, the rarest discordance included, where the plain score misses up to three times as often.

    Args:
        up: Pairs of which the second alone did it.
        down: Pairs of which the first alone did it.
        pairs: All pairs, at least ``up + down``.
        level: Two-sided confidence, strictly between 0 and 1.
        population: Pairs there are; the variance gets the finite-population correction, and what was seen is certain.

    Examples:
        >>> [round(end, 4) for end in tango(6, 0, 1000)]
        [0.0003, 0.006, 0.0144]
        >>> [round(end, 4) for end in tango(0, 0, 1000)]
        [-0.0056, 0.0, 0.0056]

    References:
        .. [Tango1998] T. Tango. Equivalence test and confidence interval for the difference in proportions for the
           paired-sample design. Statistics in Medicine 17(8):891-908, 1998.
        .. [Edwards1948] A. L. Edwards. Note on the "correction for continuity" in testing the significance of the
           difference between correlated proportions. Psychometrika 13(3):185-187, 1948.
    """
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    best, least, most = (up - down) / pairs, -1.0, 1.0
    if population is not None:
        z2 *= (population - pairs) / max(population - 1, 1)
        unseen = population - pairs
        least, most = (up - down - unseen) / population, (up - down + unseen) / population
    high = _last(best, 1.0, lambda tested: _kept(tested, up, down, pairs, z2))
    low = -_last(-best, 1.0, lambda tested: _kept(tested, down, up, pairs, z2))
    return Estimate(min(best, max(low, least)), best, max(best, min(high, most)))


def _kept(tested: float, up: int, down: int, pairs: int, z2: float) -> bool:
    """Whether a difference above the one seen is kept, by the variance under the likeliest proportions that have it."""
    apart = pairs * tested - (up - down) - 1
    if apart <= 0:
        return True
    linear = (2 * pairs - up + down) * tested - up - down
    root = math.sqrt(max(linear**2 + 8 * pairs * down * tested * (1 - tested), 0.0))
    share = max((root - linear) / (4 * pairs), 0.0)  # of pairs of which the first alone does it
    return apart**2 <= z2 * pairs * max(2 * share + tested * (1 - tested), 0.0)


def _last(near: float, far: float, holds: Callable[[float], bool]) -> float:
    """Return the last number from *near*, where *holds*, towards *far*."""
    if holds(far):
        return far
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        near, far = (middle, far) if holds(middle) else (near, middle)
    return far
