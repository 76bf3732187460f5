"""Quantiles of sums of independent draws that are not Poisson, by Fourier inversion on a grid. No device here."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from faultsim.budget.base import check_confidence

_CELLS = 2**16
"""Grid cells over the window that holds the sum: a quantile is read to within 1/65536 of it."""
_MANY = 16
"""Groups above which a quarter of them has to do."""


def mixture_quantile(sizes: ArrayLike, shares: ArrayLike, counts: ArrayLike, confidence: float) -> float:
    """Return the quantile of a sum over independent draws in groups: group g draws ``counts[g]`` times.

    Each draw of group g adds ``sizes[g, o]`` with probability ``shares[g, o]`` and else nothing. Two cases that
    a compound Poisson sum gets too wide: a fixed number of jumps (one group, shares that add up to 1), and words
    that go wrong with a probability that is not small.

    Args:
        sizes: What each outcome adds, shape (groups, outcomes); may be negative.
        shares: Probability of each outcome, the same shape; each row adds up to at most 1.
        counts: Draws of each group, whole numbers, shape (groups,).
        confidence: Quantile, strictly between 0 and 1.

    Returns:
        The quantile, or 0 where it is negative: to within a few grid points, as a rule just above.

    Raises:
        OptionError: If *confidence* is out of range.

    References:
        P. Embrechts, M. Frei. Panjer recursion versus FFT for compound distributions. Math. Methods of
        Operations Research 69:497-508, 2009, §2, with the product of the draws' characteristic functions in
        place of the Poisson one.
    """
    check_confidence(confidence)
    jumps, odds = np.broadcast_arrays(np.atleast_2d(sizes).astype(np.float64), np.asarray(shares, dtype=np.float64))
    times = np.asarray(counts, dtype=np.float64).reshape(-1)
    live = np.any((jumps != 0) & (odds > 0), axis=1) & (times > 0)
    if not np.any(live):
        return 0.0
    jumps, odds, times = jumps[live], odds[live], times[live]
    drawn = odds > 0
    first = np.sum(odds * jumps, axis=1)
    mean = float(times @ first)
    spread = math.sqrt(float(times @ np.maximum(np.sum(odds * jumps**2, axis=1) - first**2, 0.0)))
    most = float(times @ np.max(np.where(drawn, jumps, 0.0), axis=1, initial=0.0))
    top = float(np.max(np.abs(jumps), where=drawn, initial=0.0))
    high = min(most, mean + 12 * spread + 4 * top)
    least = float(times @ np.min(np.where(drawn, jumps, 0.0), axis=1, initial=0.0))
    low = max(least, mean - 12 * spread)
    if high <= low:
        return max(high, 0.0)
    cells = _CELLS if times.size <= _MANY else _CELLS // 4
    step = (high - low) / cells
    if top >= step:  # the grid has twice the room: halves, quarters, ... of the largest jump lie on it exactly
        step = top / 2 ** math.ceil(math.log2(top / step))
    start = math.floor(low / step)
    log_phi = np.zeros(cells + 1, dtype=np.complex128)
    for row, odd, count in zip(jumps, odds, times, strict=True):
        log_phi += count * np.log(_spectrum(row / step, odd, 2 * cells))
    mass = fft.irfft(np.exp(log_phi))
    reached = np.flatnonzero(np.cumsum(np.roll(mass, -(start % (2 * cells)))) >= confidence - 1e-9)
    if not reached.size:
        return high
    # an outcome between two grid points lies on both: the upper one is not too low
    at = start + int(reached[0])
    if at == 0 and least >= 0:
        return _below(jumps, odds, times, confidence, min(step, most))
    return 0.0 if at == 0 else max(min((at + 1) * step, most), 0.0)


def _below(
    jumps: NDArray[np.float64], odds: NDArray[np.float64], times: NDArray[np.float64], confidence: float, step: float
) -> float:
    """Return a quantile that lies below the first point of the grid, where no draw adds more than *step*.

    The chance of that is the product of those of all draws; given it, the outcomes that are left have a grid of their
    own.
    """
    wide = jumps > step
    inside = 1 - np.sum(odds, axis=1, where=wide)
    spared = float(np.exp(times @ np.log(np.maximum(inside, 1e-300))))
    nothing = float(np.exp(times @ np.log(np.maximum(1 - np.sum(odds, axis=1, where=jumps > 0), 1e-300))))
    if nothing >= confidence - 1e-9:
        return 0.0
    if not wide.any() or confidence >= spared:
        return step
    left = np.where(wide, 0.0, odds) / np.maximum(inside, 1e-300)[:, None]
    return min(mixture_quantile(np.where(wide, 0.0, jumps), left, times, confidence / spared), step)


def _spectrum(place: NDArray[np.float64], shares: NDArray[np.float64], size: int) -> NDArray[np.complex128]:
    """Return the characteristic function of one draw; jumps are split between grid points, the mean exact."""
    low = np.floor(place).astype(np.int64)
    upper = place - low
    severity = np.bincount(low % size, shares * (1 - upper), size)
    severity += np.bincount((low + 1) % size, shares * upper, size)
    severity[0] += 1 - float(shares.sum())
    phi = np.asarray(fft.rfft(severity), dtype=np.complex128)
    return np.where(phi == 0, 1e-300, phi)
