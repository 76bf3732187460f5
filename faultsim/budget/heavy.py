"""The quantile of a sum of squares that a few of its parts may dominate: heavily skewed errors. No budget lives here.

References:
    .. [David2003] H. A. David, H. N. Nagaraja. Order Statistics, 3rd ed., Wiley 2003, eq. 2.1.1: the distribution of a
       maximum is the product of the distributions of its independent parts.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize

from faultsim.budget.mixture import mixture_quantile
from faultsim.budget.skewed import Array, Skewed

_BLOCKS = 64
"""Parts that are told apart; of more, those of like size are taken as the largest of them."""

_BEYOND = 4.0
"""Times the quantile of the largest part: where parts are cut. The sum is then resolved to 1/1000 of it or so."""

_BINS, _SPAN = 512, 1e-4
"""Sizes that a part may have, from this share of the cut."""


def square_quantile(parts: Skewed, confidence: float) -> float:
    """Return the quantile of ``sum X_i²`` of independent *parts*, an upper bound to within the grid.

    ``P(sum <= s) >= P(all |X_i| <= r) P(sum <= s | all |X_i| <= r)`` for each r, with equality where ``s <= r²``. Cut
    at r parts are independent still, and bounded: Fourier inversion finds the quantile however heavy their tails are,
    where a fit to their moments lies far off, or at 0. r is 4 times the quantile of the largest part, [David2003]_.

    Args:
        parts: Shape ``(parts,)``, at least one that is not 0.
        confidence: Quantile, strictly between 0 and 1.
    """
    alike, counts = _alike(parts)
    largest = largest_part(alike, counts, confidence)
    if largest <= 0:
        return 0.0
    cut = _BEYOND * largest
    edges = cut * np.geomspace(_SPAN, 1.0, _BINS)
    beyond = np.stack([alike.outside(float(edge)) for edge in edges], axis=1)
    kept = 1 - beyond[:, -1:]
    inside = math.exp(float(np.sum(counts * np.log1p(-np.minimum(beyond[:, -1], 1 - 1e-16)))))
    shares = np.maximum(beyond[:, :-1] - beyond[:, 1:], 0.0) / np.maximum(kept, 1e-300)
    sizes = np.concatenate([[edges[0] ** 2], edges[:-1] * edges[1:]])  # the middles of their logarithms
    shares = np.concatenate([np.maximum(1 - shares.sum(axis=1, keepdims=True), 0.0), shares], axis=1)
    shares /= shares.sum(axis=1, keepdims=True)
    found = mixture_quantile(np.broadcast_to(sizes, shares.shape), shares, counts, confidence / inside)
    return max(found, largest**2)


def largest_part(parts: Skewed, counts: Array, confidence: float) -> float:
    """Return the radius that all parts stay within at once with probability *confidence*, [David2003]_.

    Args:
        parts: Shape ``(parts,)``.
        counts: How many there are of each.
        confidence: Quantile, strictly between 0 and 1.
    """

    def excess(radius: float) -> float:
        outside = np.minimum(parts.outside(radius), 1 - 1e-16)
        return float(np.sum(counts * np.log1p(-outside))) - math.log(confidence)

    return radius_where(excess, float(np.max(np.abs(parts.mean) + 12 * parts.std)))


def radius_where(excess: Callable[[float], float], guess: float) -> float:
    """Return the radius at which *excess*, rising, passes 0: to ten digits, be it far below *guess* or above."""
    high = guess + 1e-300
    while excess(high) < 0:
        high *= 2
    while high > 1e-300 and excess(high / 16) >= 0:  # a spread may be many powers of ten above the quantile
        high /= 16
    if high <= 1e-300:
        return 0.0
    return float(optimize.brentq(excess, high / 16, high, xtol=1e-10 * high))


def _alike(parts: Skewed) -> tuple[Skewed, Array]:
    """Return at most `_BLOCKS` parts that stand for all, and how many each stands for."""
    square = parts.mean**2 + parts.std**2
    order = np.argsort(square)
    order = order[square[order] > 0]
    if order.size <= _BLOCKS:
        last, counts = order, np.ones(order.size)
    else:  # blocks of equal shares of the whole: the largest stand alone
        share = np.cumsum(square[order])
        block = np.minimum((share / share[-1] * _BLOCKS).astype(np.int64), _BLOCKS - 1)
        ends = np.flatnonzero(np.append(np.diff(block) > 0, True))
        last, counts = order[ends], np.diff(np.append(-1, ends)).astype(np.float64)
    return Skewed(*(part[last] for part in parts)), counts
