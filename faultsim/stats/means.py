"""Intervals for means over chips: Student's t and the bootstrap. One value is one chip, never one image."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from faultsim.stats.estimate import Estimate, check_level, finite_sample

_CHUNK = 1 << 20  # resampled values held at once


def t_interval(
    values: ArrayLike, *, level: float = 0.95, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Estimate the mean over chips with Student's t interval.

    Equal values give an interval without width: that says that nothing was seen to vary, not that nothing can
    (a rare catastrophic chip hides from a mean; `quantile_estimate` and `yield_estimate` count it). One chip
    alone says nothing about the spread, so its interval is `bounds`.

    Args:
        values: One finite value a chip, any unit, shape (chips,), at least 1.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        bounds: Range the quantity cannot leave, in its unit: ``(0, 1)`` for an accuracy; the interval is cut
            to it.

    Returns:
        ``Estimate(low, best, high)`` in the unit of the values.

    Raises:
        ValueError: If there is no value, one is not finite, or the level is out of range.

    Examples:
        >>> [round(end, 4) for end in t_interval([0.90, 0.91, 0.89, 0.90])]
        [0.887, 0.9, 0.913]
        >>> t_interval([0.9], bounds=(0, 1))
        Estimate(low=0.0, best=0.9, high=1.0)
    """
    check_level(level)
    sample = finite_sample(values, at_least=1)
    best = _mean(sample)
    if sample.size == 1:
        return Estimate(float(bounds[0]), best, float(bounds[1]))
    spread = math.sqrt(math.fsum((sample - best) ** 2) / (sample.size - 1))
    half = float(stdtrit(sample.size - 1, 0.5 + level / 2)) * spread / math.sqrt(sample.size)
    return Estimate(max(best - half, bounds[0]), best, min(best + half, bounds[1]))


def bootstrap_mean(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 9999,
    method: str = "bca",
) -> Estimate:
    """Estimate the mean over chips by resampling chips, [Efron1987]_: for skewed values, where t is off.

    The result depends on `rng`: pass a keyed one (`faultsim.rng.generator`), so that a report can be made
    again. The ends never leave the range of the sample, so small samples (under about 20 chips) cover less
    than the level.

    Args:
        values: One finite value a chip, any unit, shape (chips,), at least 2.
        rng: Generator of the resamples.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        resamples: Number of resampled means, at least 100.
        method: ``"bca"`` (bias-corrected and accelerated, [Efron1987]_ eq. 2.3) or ``"percentile"``.

    Returns:
        ``Estimate(low, best, high)`` in the unit of the values; all three equal where all values are.

    Raises:
        ValueError: If there are fewer than 2 values, one is not finite, or an option is out of range.

    Examples:
        >>> from faultsim.rng import generator
        >>> accuracy = [0.91, 0.90, 0.91, 0.52, 0.90, 0.91, 0.89, 0.91]
        >>> [round(end, 2) for end in bootstrap_mean(accuracy, rng=generator(0, -1, "doc"))]
        [0.71, 0.86, 0.91]

    References:
        .. [Efron1987] B. Efron. Better bootstrap confidence intervals. JASA 82(397):171-185, 1987.
    """
    check_level(level)
    sample = finite_sample(values, at_least=2)
    if method not in ("bca", "percentile"):
        raise ValueError(f"bootstrap method {method!r} is unknown: give 'bca' or 'percentile'")
    if resamples < 100:
        raise ValueError(f"resamples = {resamples} is too few: give at least 100")
    best = _mean(sample)
    if np.all(sample == sample[0]):
        return Estimate(best, best, best)
    means = _resampled_means(sample, rng, resamples)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _bca_tails(sample, best, means, tails)
    low, high = np.quantile(means, tails)
    return Estimate(float(low), best, float(high))


def _mean(sample: NDArray[np.float64]) -> float:
    return math.fsum(sample) / sample.size


def _resampled_means(sample: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    means = np.empty(resamples)
    step = max(1, _CHUNK // sample.size)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        means[start : start + rows] = sample[rng.integers(sample.size, size=(rows, sample.size))].mean(axis=1)
    return means


def _bca_tails(
    sample: NDArray[np.float64], best: float, means: NDArray[np.float64], tails: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the corrected probabilities; ties with the estimate count half (accuracies lie on a lattice)."""
    below = (np.count_nonzero(means < best) + 0.5 * np.count_nonzero(means == best)) / means.size
    bias = float(ndtri(min(max(below, 0.5 / means.size), 1 - 0.5 / means.size)))
    off = sample - best
    acceleration = math.fsum(off**3) / (6 * math.fsum(off**2) ** 1.5)  # the jackknife's, in closed form for a mean
    shifted = bias + np.asarray(ndtri(tails), dtype=np.float64)
    corrected: NDArray[np.float64] = np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)), dtype=np.float64)
    return corrected
