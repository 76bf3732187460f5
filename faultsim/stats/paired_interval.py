"""Intervals for the mean of paired differences, which hold where few pairs carry it. The test lives in `signs`."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from faultsim.stats.betting import BettingSequence
from faultsim.stats.estimate import Estimate
from faultsim.stats.means import t_interval

_HALVINGS = 60
_ALIKE = 1e-9  # of the span: differences no further apart are the same
_FEW, _FEW_OF = 50, 8  # effective pairs that carry the spread: fewer than this, and than this part of all


def paired_interval(
    apart: NDArray[np.float64], *, level: float, span: float, population: int | None = None, tailed: bool = False
) -> Estimate:
    """Estimate the mean of differences in ``[-span, span]`` of pairs, each drawn once, in the order in which they were.

    Which interval: `tango` where every pair differs by *span* or not at all; Student's t where the differences are
    dense (`dense`); else bets on a bounded mean (`BettingSequence`), whose level holds for every law. t does not know
    of pairs that were not drawn: where a few large differences carry the mean and many small ones the sample, it can
    miss nearly always.

    Args:
        apart: One difference a pair, finite, shape (pairs,), at least 1.
        level: Two-sided confidence, strictly between 0 and 1.
        span: The largest difference possible.
        population: Pairs there are, none drawn twice: a census has no width. None: no end.
        tailed: Whether pairs that were not drawn may differ by far more than all that were, as single faults do: t is
            then never used.

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
    if np.all((sizes <= 1e-12 * span) | (sizes >= (1 - 1e-9) * span)):
        first, second = (int(np.count_nonzero(sign * apart > span / 2)) for sign in (1, -1))
        found = tango(first, second, pairs, level=level, population=population)
        return Estimate(*(span * end for end in found))
    if tailed or not dense(apart, span=span):
        run = BettingSequence(level=level, planned=pairs, population=population)
        run.update(np.clip((apart / span + 1) / 2, 0.0, 1.0))
        low, _, high = run.interval()
        return Estimate(min(mean, span * (2 * low - 1)), mean, max(mean, span * (2 * high - 1)))
    found = t_interval(apart, level=level)
    shrunk = 1.0 if population is None else math.sqrt((population - pairs) / (population - 1))
    low, high = mean - shrunk * (found.best - found.low), mean + shrunk * (found.high - found.best)
    return Estimate(max(low, -span), mean, min(high, span))


def dense(apart: NDArray[np.float64], *, span: float) -> bool:
    """Whether a sample shows the spread of its differences, so that Student's t may be trusted with it.

    It does not where more than half of the pairs differ by the same (none at all, or one sample): then rare pairs carry
    the spread, and those of a sample are few or none. Nor where few carry it: an effective number ``(Σe²)² / Σe⁴`` of
    the deviations e from the mean below 50 and below an eighth of the pairs (normal ones have a third).

    Args:
        apart: One difference a pair, finite, shape (pairs,), at least 1.
        span: The largest difference possible.

    Examples:
        >>> import numpy as np
        >>> dense(np.arange(20) / 1000, span=1.0), dense(np.array([0.002] * 11 + [0.0] * 9), span=1.0)
        (True, False)
    """
    same = int(np.count_nonzero(np.abs(apart - np.median(apart)) <= _ALIKE * span))
    if 2 * same > apart.size:  # what most have is the median
        return False
    squares = ((apart - apart.mean()) / span) ** 2
    squares = squares / squares.max()  # sums neither overflow nor vanish
    return math.fsum(squares) ** 2 >= min(_FEW, apart.size / _FEW_OF) * math.fsum(squares**2)


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
