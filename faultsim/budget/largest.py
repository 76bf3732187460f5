"""The largest change that independent faults make in any element of a tensor: its quantile, in closed form.

Sums over words live in `words` and `compound`.

References:
    .. [David2003] H. A. David, H. N. Nagaraja. Order Statistics, 3rd ed., Wiley 2003, eq. 2.1.1: the distribution of a
       maximum is the product of the distributions of its independent parts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.formats import IntFormat, Values

Floats = NDArray[np.float64]

TOP_BITS = 10
"""Bits of a word that are taken pattern by pattern; what is below adds at most a five-hundredth of the top bit."""

_MOST = 1 << 26
"""Most pairs of a word and a pattern in all: some seconds."""

_CHUNK = 1 << 21
"""Pairs that are held at once."""


class _Group(NamedTuple):
    """Words of one scale: ``log P(no |change| above j steps)`` for j = 0, 1, ..., and the size of a step."""

    log_within: Floats
    step: float

    def at(self, change: float) -> float:
        return float(self.log_within[min(int(change / self.step * (1 + _NEAR)), len(self.log_within) - 1)])


_SURE = 1e-12
"""A probability this near to the confidence is it."""

_NEAR = 1e-9
"""Relative: a change this near to a whole number of steps is one."""


def largest_change(fmt: IntFormat, values: Values, rates: ArrayLike, *, confidence: float) -> float | None:
    """Return the quantile of the largest ``|change|`` of any word, value units; None where a closed form costs much.

    With independent words ``P(largest <= x) = product of P(|change of a word| <= x)``, [David2003]_; that of a word is
    summed over every pattern of flips, so flips that meet in a word are exact. Of words wider than `TOP_BITS` the lower
    bits are taken as all flipped the same way: an upper bound, by at most 0.4 % where top bits flip at all.

    Args:
        fmt: Any integer format.
        values: The tensor, already rounded to the format.
        rates: Probability that each stored bit is wrong, broadcastable to ``(k, B)``; equal words must have equal ones,
            else the answer is None.
        confidence: Quantile over chips, strictly between 0 and 1.
    """
    if not np.size(values):
        return None
    low = max(fmt.bits - TOP_BITS, 0)
    written = fmt.encode(values).reshape(-1) >> np.uint64(low)
    chances = np.atleast_2d(np.asarray(rates, np.float64))
    chances = np.broadcast_to(chances, (chances.shape[0], fmt.bits))[:, low:]
    steps = np.broadcast_to(np.asarray(fmt.scale, np.float64), np.shape(values)).reshape(-1)
    pairs = 0
    groups = []
    for step in np.unique(steps):
        chosen = steps == step
        words, index, back, counts = np.unique(
            written[chosen], return_index=True, return_inverse=True, return_counts=True
        )
        own = chances
        if chances.shape[0] > 1:
            own = chances[chosen][index]
            if not np.array_equal(own[back], chances[chosen]):
                return None
        pairs += len(words) << (fmt.bits - low)
        if pairs > _MOST:
            return None
        top = IntFormat(fmt.bits - low, signed=fmt.signed, encoding=fmt.encoding)
        chance = np.broadcast_to(own, (len(words), top.bits))
        groups.append(_Group(_log_within(top, words, counts, chance), float(step) * 2**low))
    found = _quantile(groups, math.log(confidence))
    if low:
        turned = 2 if fmt.encoding == "sign_magnitude" else 1  # a flipped sign adds the magnitudes before and after
        found += turned * float(steps.max()) * (2**low - 1)
    return found


def largest_of(sizes: Floats, shares: Floats, *, confidence: float) -> float:
    """Return the quantile of the largest change of independent elements that are each in one of few states.

    Args:
        sizes: Change of each element in each state, shape ``(elements, states)``, at least 0.
        shares: Probability of each state, shape ``(states,)``; together at most 1, what is left changes nothing.
        confidence: Quantile over chips, strictly between 0 and 1.
    """
    levels = np.unique(np.append(sizes[:, shares > 0], 0.0))
    low, high = 0, len(levels) - 1  # the last one is never passed
    while low < high:
        middle = (low + high) // 2
        beyond = np.minimum((sizes > levels[middle]) @ shares, 1.0)
        with np.errstate(divide="ignore"):
            within = float(np.sum(np.log1p(-beyond)))
        low, high = (low, middle) if within >= math.log(confidence) else (middle + 1, high)
    return float(levels[low])


def largest_jump(sizes: Floats, rates: Floats, *, confidence: float, given_event: bool = False) -> float:
    """Return the quantile of the largest of Poisson numbers of jumps, 0 where none is likely.

    Args:
        sizes: Jump heights, at least 0, shape ``(jumps,)``.
        rates: Expected number of jumps of each height, at least 0 (infinite: it surely happens), the same shape.
        confidence: Quantile over chips, strictly between 0 and 1.
        given_event: Whether to condition on at least one jump, of any height.
    """
    order = np.argsort(sizes)
    heights = np.concatenate([[0.0], sizes[order]])
    above = np.concatenate([np.cumsum(rates[order][::-1])[::-1], [0.0]])
    inside = np.exp(-above)
    total = float(above[0])
    if given_event and 0 < total < math.inf:
        inside *= np.expm1(above - total) / math.expm1(-total)
    kept = np.flatnonzero(inside >= confidence - _SURE)
    return float(heights[kept[0]]) if kept.size else float(heights[-1])


def _log_within(fmt: IntFormat, words: NDArray[np.uint64], counts: NDArray[np.int64], chances: Floats) -> Floats:
    """Return for j = 0, 1, ... steps ``log P(|change| <= j)`` of all words together."""
    masks = np.arange(1 << fmt.bits, dtype=np.uint64)
    whole = fmt.decode(words).astype(np.float64)
    most = 1 << (fmt.bits + 1)
    log_within = np.zeros(most + 1)
    for first in range(0, len(words), max(1, _CHUNK >> fmt.bits)):
        part = slice(first, first + max(1, _CHUNK >> fmt.bits))
        moved = np.abs(fmt.decode(words[part, None] ^ masks).astype(np.float64) - whole[part, None])
        rows = np.arange(len(moved))[:, None] * (most + 1)
        places = (moved.astype(np.int64) + rows).ravel()
        share = np.bincount(places, _patterns(chances[part]).ravel(), len(moved) * (most + 1))
        beyond = np.cumsum(share.reshape(len(moved), -1)[:, ::-1], axis=1)[:, ::-1]  # small tails stay exact
        beyond = np.minimum(np.concatenate([beyond[:, 1:], np.zeros((len(moved), 1))], axis=1), 1.0)
        with np.errstate(divide="ignore"):  # a word that surely moves farther
            log_within += counts[part] @ np.log1p(-beyond)
    return log_within


def _quantile(groups: Sequence[_Group], level: float) -> float:
    """Return the least change at which all groups together stay within it with log probability *level*."""
    if len(groups) == 1:
        return groups[0].step * int(np.argmax(groups[0].log_within >= level))
    low, high = 0.0, max(one.step * len(one.log_within) for one in groups)
    if sum(one.at(low) for one in groups) >= level:
        return low
    while high - low > _NEAR * high:
        middle = 0.5 * (low + high)
        if sum(one.at(middle) for one in groups) >= level:
            high = middle
        else:
            low = middle
    return high


def _patterns(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of every pattern of flips, ``(words, 2**B)``, of bits ``(words, B)``."""
    chance = np.ones((len(rates), 1))
    for rate in rates.T[:, :, None]:  # least significant first: each bit doubles the table
        chance = np.concatenate([chance * (1 - rate), chance * rate], axis=1)
    return chance
