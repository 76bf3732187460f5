"""Two models on the same chips: the mean of their differences, and whether it may be claimed. One value is one chip.

Images are no trials: all images on one chip share its faults, so a test that counts them as independent (McNemar's on
images) claims differences that are not there.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import permutation_test

from faultsim.stats.betting import BettingSequence
from faultsim.stats.estimate import Estimate, check_level, finite_sample
from faultsim.stats.means import t_interval

_EXACT_CHIPS = 14  # 2**14 sign patterns are all looked at; above, a random part
_CHUNK = 1 << 20


class PairedDifference(NamedTuple):
    """The mean over chips of second minus first.

    Attributes:
        difference: The mean and its interval, in the unit of the values.
        p_value: Two-sided, of the sign-flip test: how often random signs give so large a mean.
        trials: Chips that both were evaluated on.
        level: Confidence of the interval.
        exact: Whether all sign patterns were looked at.
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
) -> PairedDifference:
    """Compare two models chip by chip: mean of ``second - first`` with Student's t interval and a sign-flip test.

    Pairing removes what both share (the chip's faults, the images), so it sees differences that two separate intervals
    hide. If every chip gives the same difference the t interval has no width; a bounded-mean interval (betting)
    then stands in, which for few chips does not exclude 0. The test, [Fisher1935]_ sec. 21, is exact for up to 14
    chips and else uses random signs; it needs no normal law: without a difference each sign is as likely.

    Args:
        first: One value a chip of the first model, any unit, shape (chips,), at least 1.
        second: The same of the second, on the same chips in the same order.
        rng: Generator of the random signs (above 14 chips), keyed, so that a result can be made again.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.
        span: The largest possible value minus the smallest, 1 for accuracies.
        resamples: Random sign patterns, at least 100.

    Raises:
        ValueError: If the chips are not the same number, a value is not finite, a difference exceeds *span*, or an
            option is out of range.

    Examples:
        >>> from faultsim.rng import generator
        >>> hardened = [0.91, 0.90, 0.89, 0.92, 0.90, 0.91, 0.90]
        >>> plain = [0.89, 0.87, 0.88, 0.90, 0.86, 0.90, 0.88]
        >>> got = paired_difference(plain, hardened, rng=generator(0, -1, "doc"))
        >>> [round(end, 3) for end in got.difference], round(got.p_value, 4), got.claimed
        ([0.012, 0.021, 0.031], 0.0156, True)

    References:
        .. [Fisher1935] R. A. Fisher. The Design of Experiments. Oliver and Boyd, 1935.
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
    if np.ptp(apart) <= 1e-12 * span:
        run = BettingSequence(level=level, planned=int(apart.size))
        run.update(np.clip((apart / span + 1) / 2, 0.0, 1.0))
        low, _, high = run.interval()
        mean = float(apart.mean())
        difference = Estimate(min(mean, span * (2 * low - 1)), mean, max(mean, span * (2 * high - 1)))
    else:
        difference = t_interval(apart, level=level, bounds=(-span, span))
    p_value = _sign_flip(apart, rng, resamples) if apart.size > 1 else 1.0
    return PairedDifference(difference, p_value, int(apart.size), level, bool(apart.size <= _EXACT_CHIPS))


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
    p = "p < 0.0001" if result.p_value < 1e-4 else f"p = {result.p_value:.2g}"
    return f"{head}: second minus first {best}, {100 * result.level:g} % interval {low} to {high}, {p} (sign-flip test)"


def _sign_flip(apart: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> float:
    count = 2**_EXACT_CHIPS if apart.size <= _EXACT_CHIPS else resamples
    result = permutation_test(
        (apart,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=count,
        batch=max(1, _CHUNK // apart.size),
        rng=rng,
    )
    return float(result.pvalue)
