"""How many trials each stratum gets: by its size, or by its size and spread. No estimate is made here.

In two phases: a pilot by `proportional`, then the rest by `neyman` with the spreads of `pilot_std`. The weights of an
estimate stay the shares of the population whatever the allocation, so the second phase alone is unbiased. Pooling the
pilot with it is convenient and has a small bias (of the order of 1/n: a stratum in which the pilot saw nothing gets
fewer further trials, so its chance zero keeps more weight); where that matters, estimate from the second phase alone.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.stats.estimate import finite_sample

_HALVINGS = 200
_LEAST_SHARE = 1e-9


def proportional(populations: Sequence[int], trials: int, *, least: int = 1) -> list[int]:
    """Split *trials* over strata by their size, with the largest remainders rounded up.

    Args:
        populations: Units in each stratum, at least 1.
        trials: Trials of the campaign, at least what the strata get at least, at most all units.
        least: Trials that each stratum gets at least (all of a smaller stratum).

    Returns:
        Trials of each stratum; they sum to *trials* and never exceed the population of a stratum.

    Raises:
        ValueError: If a population is below 1 or *trials* cannot be split so.

    Examples:
        >>> proportional([8_600_000, 320, 40], 1000, least=2)
        [996, 2, 2]
    """
    return _split(np.array(populations, dtype=np.float64), populations, trials, least)


def neyman(populations: Sequence[int], stds: ArrayLike, trials: int, *, least: int = 1) -> list[int]:
    """Split *trials* over strata by size times standard deviation: the least variance of the estimate, [Neyman1934]_.

    A stratum whose share exceeds its population is sampled fully and the rest is split anew. A deviation of zero
    seen in a few trials is no proof of none: give the cautious `pilot_std`, and every stratum keeps
    `least`. If all are zero: `proportional`.

    Args:
        populations: Units in each stratum, at least 1.
        stds: Standard deviation of the value in each stratum, at least 0, in any one unit.
        trials: Trials to split.
        least: Trials that each stratum gets at least (all of a smaller stratum).

    Returns:
        Trials of each stratum; they sum to *trials* and never exceed the population of a stratum.

    Raises:
        ValueError: If there is not one spread a stratum, one is negative, or *trials* cannot be split so.

    Examples:
        >>> neyman([1000, 1000, 50], [0.5, 0.1, 0.5], 600, least=10)
        [480, 96, 24]

    References:
        .. [Neyman1934] J. Neyman. On the two different aspects of the representative method. JRSS 97(4):558-625, 1934.
    """
    spread = finite_sample(stds, at_least=0)
    if spread.size != len(populations):
        raise ValueError(f"{spread.size} standard deviations do not fit {len(populations)} strata: give one a stratum")
    if np.any(spread < 0):
        raise ValueError(f"standard deviation {spread.min()} is out of range: give at least 0")
    sizes = np.array(populations, dtype=np.float64)
    return _split(sizes * spread if np.any(spread > 0) else sizes, populations, trials, least)


def pilot_std(hits: float, sampled: int) -> float:
    """Return a cautious standard deviation of a 0/1 outcome from a pilot: never zero, for `neyman`.

    One half hit and one half miss are made up (the mean under Jeffreys' prior), so a stratum without hits keeps a
    spread of about ``sqrt(1/(2·sampled))``.

    Args:
        hits: Pilot trials that did it, ``0 <= hits <= sampled``.
        sampled: Pilot trials of the stratum, at least 0.

    Raises:
        ValueError: If the counts are out of range.

    Examples:
        >>> round(pilot_std(0, 49), 3), pilot_std(5, 10)
        (0.099, 0.5)
    """
    if not 0 <= hits <= sampled:
        raise ValueError(f"hits = {hits} is out of range: it must lie between 0 and sampled = {sampled}")
    rate = (hits + 0.5) / (sampled + 1)
    return math.sqrt(rate * (1 - rate))


def _split(shares: NDArray[np.float64], populations: Sequence[int], trials: int, least: int) -> list[int]:
    """Return whole numbers proportional to *shares* between *least* and the populations that sum to *trials*."""
    if not populations:
        raise ValueError("0 strata are too few: give at least 1")
    if min(populations) < 1:
        raise ValueError(f"population = {min(populations)} is out of range: a stratum has at least 1 unit")
    if least < 0:
        raise ValueError(f"least = {least} is out of range: give at least 0")
    caps = np.array(populations, dtype=np.float64)
    floors = np.minimum(caps, least)
    if not floors.sum() <= trials <= caps.sum():
        raise ValueError(
            f"trials = {trials} is out of range: {len(populations)} strata with at least {least} each take "
            f"{int(floors.sum())} to {int(caps.sum())}"
        )
    exact = _fit(shares, floors, caps, trials)
    counts = np.maximum(floors, np.floor(exact + 1e-9))
    rest = trials - int(counts.sum())
    order = np.argsort(-(exact - counts), kind="stable")  # the first of equal remainders
    for h in np.concatenate([order, order]):
        if rest > 0 and counts[h] < caps[h]:
            counts[h] += 1
            rest -= 1
    return [int(count) for count in counts]


def _fit(
    shares: NDArray[np.float64], floors: NDArray[np.float64], caps: NDArray[np.float64], trials: int
) -> NDArray[np.float64]:
    """Return ``clip(level * shares, floors, caps)`` with the level at which it sums to *trials*."""
    # A stratum of no share takes part only once the others are full.
    shares = np.maximum(shares / shares.max(), _LEAST_SHARE * caps / caps.max())
    under, over = 0.0, float((caps / shares).max())
    for _ in range(_HALVINGS):
        level = (under + over) / 2
        if np.clip(level * shares, floors, caps).sum() < trials:
            under = level
        else:
            over = level
    return np.clip(over * shares, floors, caps)
