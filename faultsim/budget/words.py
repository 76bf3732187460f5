"""Moments of what independent flips of one word's bits change together. Quantiles and budgets live elsewhere.

References:
    .. [KendallStuart1977] M. Kendall, A. Stuart. The Advanced Theory of Statistics, vol. 1, ch. 3: moments of a sum of
       independent variables from its cumulants.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.formats import IntFormat, Values

Floats = NDArray[np.float64]

_CHUNK = 1 << 18
"""Words taken at once."""


class SumMoments(NamedTuple):
    """Mean and variance of ``sum |change|**p`` over the words of a tensor, value units to the power p and 2 p."""

    mean: float
    variance: float


class _Change(NamedTuple):
    """First four cumulants of each word's signed change, in steps."""

    first: Floats
    second: Floats
    third: Floats
    fourth: Floats

    def square(self, shift: Floats | float = 0.0) -> Floats:
        """Return ``E[(change + shift)²]``."""
        return np.asarray(self.second + (self.first + shift) ** 2)

    def fourth_power(self, shift: Floats | float = 0.0) -> Floats:
        """Return ``E[(change + shift)⁴]``, [KendallStuart1977]_ §3.14."""
        m = self.first + shift
        found = self.fourth + 4 * self.third * m + 3 * self.second**2 + 6 * self.second * m**2 + m**4
        return np.asarray(found)


def flip_moments(fmt: IntFormat, values: Values, rates: ArrayLike, *, p: int) -> SumMoments:
    """Return the moments of the sum over words of ``|change|**p``, where any bits of a word may flip together.

    Exact. Flips that meet in a word do not add in magnitude: at a rate b, ``E change² = b (1-b) Σ s² + b² (Σ ±s)²``,
    where a flip's sign is that of its bit, and the last sum is the change when all bits flip. For p = 1 a change has
    the sign of its highest flip, which outweighs all below it. In sign and magnitude a flipped sign adds the two
    magnitudes, before and after.

    Args:
        fmt: Any integer format, ``B`` bits.
        values: The tensor, k elements, already rounded to the format.
        rates: Probability that each stored bit is wrong, independently, broadcastable to ``(k, B)``.
        p: 1 or 2.
    """
    words = fmt.encode(values).reshape(-1)
    steps = np.broadcast_to(np.asarray(fmt.scale, np.float64), np.shape(values)).reshape(-1)
    chances = np.atleast_2d(np.asarray(rates, np.float64))
    mean = variance = 0.0
    for first in range(0, words.size, _CHUNK):
        part = slice(first, first + _CHUNK)
        rate = np.broadcast_to(chances[part] if chances.shape[0] > 1 else chances, (words[part].size, fmt.bits))
        one, two = _moments(fmt, words[part], rate, p)
        unit = steps[part] ** p
        mean += float(unit @ one)
        variance += float(unit**2 @ np.maximum(two - one**2, 0.0))
    return SumMoments(mean, variance)


def _moments(fmt: IntFormat, words: NDArray[np.uint64], rates: Floats, p: int) -> tuple[Floats, Floats]:
    """Return ``E |change|**p`` and ``E |change|**(2 p)`` of each word, in steps."""
    place = np.arange(fmt.bits, dtype=np.uint64)
    held = (words[:, None] >> place & np.uint64(1)).astype(np.bool_)
    signed = np.where(held, -1.0, 1.0) * 2.0 ** np.arange(fmt.bits)
    if fmt.encoding != "sign_magnitude":
        if fmt.signed and fmt.encoding == "twos_complement":
            signed[:, -1] *= -1  # sign bit: worth -2**(B-1)
        change = _cumulants(signed, rates)
        if p == 2:
            return change.square(), change.fourth_power()
        return _magnitude(signed, rates), change.square()
    size = np.where(held[:, :-1], 2.0 ** np.arange(fmt.bits - 1), 0.0).sum(axis=1)
    turned, low = rates[:, -1], rates[:, :-1]
    change = _cumulants(signed[:, :-1], low)
    kept = 1 - turned
    square = kept * change.square() + turned * change.square(2 * size)
    if p == 2:
        return square, kept * change.fourth_power() + turned * change.fourth_power(2 * size)
    return kept * _magnitude(signed[:, :-1], low) + turned * (2 * size + change.first), square


def _cumulants(signed: Floats, rates: Floats) -> _Change:
    spread = rates * (1 - rates)
    return _Change(
        np.sum(rates * signed, axis=1),
        np.sum(spread * signed**2, axis=1),
        np.sum(spread * (1 - 2 * rates) * signed**3, axis=1),
        np.sum(spread * (1 - 6 * spread) * signed**4, axis=1),
    )


def _magnitude(signed: Floats, rates: Floats) -> Floats:
    """Return ``E |sum of flipped|`` of powers of two, ascending, each with its sign."""
    found = np.zeros(len(signed))
    below = np.zeros(len(signed))  # mean of what lower flips add
    for bit in range(signed.shape[1]):
        chance, step = rates[:, bit], signed[:, bit]
        found = (1 - chance) * found + chance * (np.abs(step) + np.sign(step) * below)
        below = below + chance * step
    return found
