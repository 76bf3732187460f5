"""The sign-flip test of paired differences: how often random signs give so large a mean. No interval is made here."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

_EXACT = 14  # 2**14 sign patterns are all looked at; above, a random part
_GROUP = 8
_ALIKE = 1e-9
"""Magnitudes that differ by less, as a part of the largest, are alike: the rounding of quotients."""
_TIE = 1e-12


class SignFlip(NamedTuple):
    """Outcome of the test.

    Attributes:
        p_value: Two-sided.
        exact: Whether all sign patterns count, none was drawn.
    """

    p_value: float
    exact: bool


def sign_flip(apart: NDArray[np.float64], *, rng: np.random.Generator, resamples: int) -> SignFlip:
    """Test whether paired differences are as likely to have either sign, by their sum; [Fisher1935]_ sec. 21.

    A difference of 0 has no sign and drops out. Where the others are of one size, their number above 0 is binomial, and
    the test is exact for any number; else it is for up to 14 of them, and more get random signs.

    Args:
        apart: Differences, finite, shape (chips,).
        rng: Generator of the random signs.
        resamples: Random sign patterns, at least 1.

    Examples:
        >>> from faultsim.rng import generator
        >>> sign_flip(np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), rng=generator(0, -1, "doc"), resamples=100)
        SignFlip(p_value=0.03125, exact=True)

    References:
        .. [Fisher1935] R. A. Fisher. The Design of Experiments. Oliver and Boyd, 1935.
    """
    apart = apart[apart != 0]
    if apart.size < 2:
        return SignFlip(1.0, True)
    sizes = np.abs(apart)
    if np.ptp(sizes) <= _ALIKE * sizes.max():
        rarer = min(np.count_nonzero(apart > 0), np.count_nonzero(apart < 0))
        return SignFlip(min(1.0, 2 * float(binom.cdf(rarer, apart.size, 0.5))), True)
    sizes = sizes / sizes.max()  # sums neither overflow nor vanish
    seen, slack = float(np.where(apart > 0, sizes, -sizes).sum()), _TIE * float(sizes.sum())
    if apart.size <= _EXACT:
        sums = _signs(apart.size) @ sizes
    else:
        sums = np.zeros(resamples)
        for start in range(0, sizes.size, _GROUP):  # a byte has the signs of a group, and its sum stands in a table
            part = sizes[start : start + _GROUP]
            sums += (_signs(_GROUP)[:, : part.size] @ part)[np.frombuffer(rng.bytes(resamples), np.uint8)]
    over, under = np.count_nonzero(sums >= seen - slack), np.count_nonzero(sums <= seen + slack)
    if apart.size <= _EXACT:
        return SignFlip(min(1.0, 2 * float(min(over, under)) / sums.size), True)
    return SignFlip(min(1.0, 2 * float(min(over, under) + 1) / (resamples + 1)), False)


@cache
def _signs(count: int) -> NDArray[np.float64]:
    """Return all patterns of *count* signs, one a row."""
    return np.where(np.arange(2**count)[:, None] >> np.arange(count) & 1, 1.0, -1.0)
