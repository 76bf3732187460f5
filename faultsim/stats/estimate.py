"""The values that every interval is returned as, and the range checks they share. No statistics live here."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Estimate(NamedTuple):
    """A figure with its two-sided interval; all three in the unit of the estimated quantity.

    Attributes:
        low: Lower end of the interval.
        best: The point estimate.
        high: Upper end of the interval.
    """

    low: float
    best: float
    high: float


class QuantileEstimate(NamedTuple):
    """A quantile with its interval, and whether the sample was large enough to bound it.

    An open end is *not* a bound: with too few trials no order statistic bounds the quantile at the asked
    level, and the end shown is the range of the sample.

    Attributes:
        low: Lower end; the smallest value seen where `low_open`.
        best: The sample quantile, a value that was really seen.
        high: Upper end; the largest value seen where `high_open`.
        low_open: Whether the quantile may lie below `low`.
        high_open: Whether the quantile may lie above `high`.
        coverage: Exact probability that the interval holds the quantile (open ends reaching to infinity) for
            a continuous distribution; at least that for a discrete one.
    """

    low: float
    best: float
    high: float
    low_open: bool
    high_open: bool
    coverage: float

    @property
    def two_sided(self) -> bool:
        """Whether both ends are bounds."""
        return not (self.low_open or self.high_open)


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1).

    Raises:
        ValueError: If `level` is not strictly between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"confidence level {level!r} is out of range: give a number strictly between 0 and 1")


def check_counts(passed: int, trials: int) -> None:
    """Refuse counts that are no proportion.

    Raises:
        ValueError: Unless ``0 <= passed <= trials`` and ``trials >= 1``.
    """
    if trials < 1:
        raise ValueError(f"trials = {trials} is out of range: a proportion needs at least 1 trial")
    if not 0 <= passed <= trials:
        raise ValueError(f"passed = {passed} is out of range: it must lie between 0 and trials = {trials}")


def finite_sample(values: ArrayLike, *, at_least: int) -> NDArray[np.float64]:
    """Return *values* as a float64 vector of at least *at_least* finite numbers.

    Raises:
        ValueError: If there are too few values or one of them is not finite.
    """
    sample = np.asarray(values, dtype=np.float64).ravel()
    if sample.size < at_least:
        raise ValueError(f"{sample.size} trials are too few: this interval needs at least {at_least}")
    bad = np.flatnonzero(~np.isfinite(sample))
    if bad.size:
        raise ValueError(
            f"value {sample[bad[0]]} of trial {bad[0]} is not finite: count such trials apart, "
            "an interval cannot hold them"
        )
    return sample
