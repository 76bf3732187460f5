"""Two models on the same chips: the mean of their differences, and whether it may be claimed. One value is one chip.

Images are no trials: all images on one chip share its faults, so a test that counts them as independent (McNemar's on
images) claims differences that are not there.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from faultsim.stats.estimate import Estimate, check_level, finite_sample
from faultsim.stats.paired_interval import paired_interval
from faultsim.stats.signs import sign_flip


class PairedDifference(NamedTuple):
    """The mean over chips of second minus first.

    Attributes:
        difference: The mean and its interval, in the unit of the values.
        p_value: Two-sided, of the sign-flip test: how often random signs give so large a mean. Of a census, which
            leaves nothing to chance, 0 where the mean is not 0.
        trials: Chips that both were evaluated on.
        level: Confidence of the interval.
        exact: Whether all sign patterns count, none was drawn.
    """

    difference: Estimate
    p_value: float
    trials: int
    level: float
    exact: bool

    @property
    def claimed(self) -> bool:
        """Whether a difference may be claimed: the interval excludes 0 *and* the test rejects at ``1 - level``."""
        excluded = self.difference.low > 0 or self.difference.high < 0
        return excluded and self.p_value <= 1 - self.level + 1e-12


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    span: float = 1.0,
    resamples: int = 9999,
    population: int | None = None,
    tailed: bool = False,
) -> PairedDifference:
    """Compare two models chip by chip: mean of ``second - first`` with an interval and a sign-flip test.

    Pairing removes what both share (the chip's faults, the images), so it sees differences that two separate intervals
    hide. The interval (`paired_interval`) is Tango's score for outcomes that differ wholly or not at all, Student's t
    where the differences are dense, and else bets on a bounded mean, as few chips then carry it and those not drawn may
    differ by more. The test (`sign_flip`) needs no normal law, but symmetry: without a difference each sign is as
    likely. Of many small differences and rare large ones it sees the small ones, and the interval alone the mean.

    Args:
        first: One value a chip of the first model, any unit, shape (chips,), at least 1, in the order drawn.
        second: The same of the second, on the same chips in the same order.
        rng: Generator of the random signs (above 14 chips that differ), keyed, so that a result can be made again.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        span: The largest possible value minus the smallest, 1 for accuracies.
        resamples: Random sign patterns, at least 100.
        population: Chips there are, none drawn twice; with all of them the interval has no width. None: no end.
        tailed: Whether chips not drawn may differ by far more than all that were, as single faults do: never t then.

    Raises:
        ValueError: If the chips are not the same number or more than there are, a value is not finite, a difference
            exceeds *span*, or an option is out of range.

    Examples:
        >>> from faultsim.rng import generator
        >>> hardened = [0.91, 0.90, 0.89, 0.92, 0.90, 0.91, 0.90]
        >>> plain = [0.89, 0.87, 0.88, 0.90, 0.86, 0.90, 0.88]
        >>> got = paired_difference(plain, hardened, rng=generator(0, -1, "doc"))
        >>> [round(end, 3) for end in got.difference], round(got.p_value, 4), got.claimed
        ([0.012, 0.021, 0.031], 0.0156, True)

    """
    check_level(level)
    if resamples < 100:
        raise ValueError(f"resamples = {resamples} is too few: give at least 100")
    if not 0 < span < math.inf:
        raise ValueError(f"span = {span!r} is out of range: give a finite number above 0")
    a, b = finite_sample(first, at_least=1), finite_sample(second, at_least=1)
    if a.size != b.size:
        raise ValueError(f"{a.size} chips of the first model and {b.size} of the second: compare the same chips")
    apart = b - a
    if np.abs(apart).max() > span * (1 + 1e-9):
        most = np.abs(apart).max()
        raise ValueError(f"a difference of {most:g} exceeds span = {span:g}: give the range of the values")
    difference = paired_interval(apart, level=level, span=span, population=population, tailed=tailed)
    if apart.size == population:
        return PairedDifference(difference, float(difference.best == 0), int(apart.size), level, True)
    found = sign_flip(apart, rng=rng, resamples=resamples)
    return PairedDifference(difference, found.p_value, int(apart.size), level, found.exact)


def statement(
    result: PairedDifference, *, quantity: str = "accuracy", show: Callable[[float], str] | None = None
) -> str:
    r"""Return one sentence on the comparison; it names a difference only where one may be claimed.

    Args:
        result: The comparison.
        quantity: What was compared.
        show: How a number is written; None: signed, three significant digits.

    Examples:
        >>> few = PairedDifference(Estimate(-0.01, 0.02, 0.05), 0.21, 9, 0.95, True)
        >>> print(statement(few).replace(": ", ":\n"))
        no difference in accuracy is shown on the same 9 chips:
        second minus first +0.02, 95 % interval -0.01 to +0.05, p = 0.21 (sign-flip test)
    """
    write = show or (lambda number: f"{number:+.3g}")
    low, best, high = (write(end) for end in result.difference)
    chips = f"{result.trials} chip{'' if result.trials == 1 else 's'}"
    if result.claimed:
        verb = "higher" if result.difference.best > 0 else "lower"
        head = f"the second model's {quantity} is {verb} on the same {chips}"
    else:
        head = f"no difference in {quantity} is shown on the same {chips}"
    if result.exact and result.difference.low == result.difference.high:
        return f"{head}, which are all there are: second minus first {best}"
    p = "p < 0.0001" if result.p_value < 1e-4 else f"p = {result.p_value:.2g}"
    return f"{head}: second minus first {best}, {100 * result.level:g} % interval {low} to {high}, {p} (sign-flip test)"
