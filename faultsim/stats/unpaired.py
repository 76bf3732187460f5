"""Two independent samples of chips: the difference of their means, and whether it may be claimed. A value is a chip."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from scipy.stats import permutation_test

from faultsim.stats.estimate import Estimate, check_level, finite_sample

_CHUNK = 1 << 20


class UnpairedDifference(NamedTuple):
    """The mean of the second sample minus that of the first.

    Attributes:
        difference: The difference and its interval, in the unit of the values.
        p_value: Two-sided, of the permutation test: how often chips dealt anew to both samples part as far.
        trials: Chips of the first and of the second sample.
        level: Confidence of the interval.
    """

    difference: Estimate
    p_value: float
    trials: tuple[int, int]
    level: float

    @property
    def claimed(self) -> bool:
        """Whether a difference may be claimed: the interval excludes 0 *and* the test rejects at ``1 - level``."""
        excluded = self.difference.low > 0 or self.difference.high < 0
        return excluded and self.p_value <= 1 - self.level + 1e-12


def unpaired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    span: float = 1.0,
    resamples: int = 9999,
) -> UnpairedDifference:
    """Compare the means of two independent samples of chips; with the same chips `paired_difference` sees far more.

    The interval is Welch's, [Welch1947]_: the samples may spread differently. Where neither varies at all, it would
    have no width; how rare other values can be, having not been seen in either, stands in. The permutation test is of
    Welch's statistic, which keeps it right, for large samples, where the spreads differ too, [Janssen1997]_. One chip
    says nothing about a spread: the interval is then all that *span* allows.

    Args:
        first: One value a chip, any unit, shape (chips,), at least 1.
        second: The same of the other sample.
        rng: Generator of the permutations, keyed, so that a result can be made again.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        span: The largest possible value minus the smallest, 1 for accuracies.
        resamples: Random permutations, at least 100.

    Raises:
        ValueError: If there is no value, one is not finite, or an option is out of range.

    Examples:
        >>> from faultsim.rng import generator
        >>> got = unpaired_difference([0.91, 0.90, 0.92], [0.80, 0.82, 0.81, 0.79], rng=generator(0, -1, "doc"))
        >>> [round(end, 3) for end in got.difference], got.trials
        ([-0.127, -0.105, -0.083], (3, 4))

    References:
        .. [Welch1947] B. L. Welch. The generalization of 'Student's' problem when several different population
           variances are involved. Biometrika 34(1-2):28-35, 1947.
        .. [Janssen1997] A. Janssen. Studentized permutation tests for non-i.i.d. hypotheses and the generalized
           Behrens-Fisher problem. Statistics & Probability Letters 36(1):9-21, 1997.
    """
    check_level(level)
    if resamples < 100:
        raise ValueError(f"resamples = {resamples} is too few: give at least 100")
    if not 0 < span < math.inf:
        raise ValueError(f"span = {span!r} is out of range: give a finite number above 0")
    a, b = finite_sample(first, at_least=1), finite_sample(second, at_least=1)
    best = float(b.mean() - a.mean())
    trials = (int(a.size), int(b.size))
    if min(trials) < 2:
        return UnpairedDifference(Estimate(-span, best, span), 1.0, trials, level)
    if max(np.ptp(a), np.ptp(b)) <= 1e-12 * span:
        (low_a, high_a), (low_b, high_b) = _constant(a, level, span), _constant(b, level, span)
        difference = Estimate(max(low_b - high_a, -span), best, min(high_b - low_a, span))
    else:
        half = _welch_half_width(a, b, level)
        difference = Estimate(max(best - half, -span), best, min(best + half, span))
    found = permutation_test(
        (a, b),
        _welch,
        permutation_type="independent",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _CHUNK // (a.size + b.size)),
        rng=rng,
    )
    return UnpairedDifference(difference, float(found.pvalue), trials, level)


def _welch_half_width(a: NDArray[np.float64], b: NDArray[np.float64], level: float) -> float:
    parts = [float(one.var(ddof=1)) / one.size for one in (a, b)]
    error = math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / sum(part**2 / (one.size - 1) for part, one in zip(parts, (a, b), strict=True))
    return float(stdtrit(freedom, 0.5 + level / 2)) * error


def _welch(a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    apart = b.mean(axis=axis) - a.mean(axis=axis)
    error = np.sqrt(a.var(axis=axis, ddof=1) / a.shape[axis] + b.var(axis=axis, ddof=1) / b.shape[axis])
    small = 1e-12 * (1 + np.abs(apart))  # a deal without any spread is as far apart as can be
    return np.asarray(apart / np.maximum(error, small), dtype=np.float64)


def _constant(sample: NDArray[np.float64], level: float, span: float) -> tuple[float, float]:
    """Return bounds of the mean where all n values are equal: other values are rarer than would have been seen.

    Values that have at most the share q = tail^(1/(n-1)) come up n times in a row with a probability below the tail;
    with a larger share the mean lies within span·(1 - q) of them.
    """
    tail = (1 - level) / 2  # half for each of the two samples
    reach = span * (1 - tail ** (1 / (sample.size - 1)))
    return float(sample[0]) - reach, float(sample[0]) + reach
