"""Quantiles of compound Poisson sums, by Fourier inversion on a grid. No device knowledge lives here."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, stats

from faultsim.budget.base import check_confidence

_CELLS = 2**16
"""Grid cells up to the largest plausible sum: a quantile is read to within 1/65536 of it, upwards."""


def compound_quantile(sizes: ArrayLike, rates: ArrayLike, confidence: float, *, given_event: bool = False) -> float:
    """Return the quantile of a sum of independent jumps: ``sum_j Poisson(rates_j) * sizes_j``.

    The normal approximation reads low where few jumps happen; this inverts the characteristic function
    ``exp(sum_j rates_j (e^{i t sizes_j} - 1))`` with a fast Fourier transform. Jumps are split between the
    two nearest grid points so that the mean stays exact and the variance only grows.

    Args:
        sizes: Jump heights, at least 0, any shape.
        rates: Expected number of jumps of each height, at least 0, broadcastable to *sizes*.
        confidence: Quantile, strictly between 0 and 1.
        given_event: Whether to condition on at least one jump (of any size, zero included).

    Returns:
        The smallest grid value whose probability reaches *confidence*; 0 where no jump is likely enough.

    Raises:
        OptionError: If *confidence* is out of range.

    References:
        P. Embrechts, M. Frei. Panjer recursion versus FFT for compound distributions. Math. Methods of
        Operations Research 69:497-508, 2009, §2.
    """
    check_confidence(confidence)
    jumps, lam = (np.ravel(a).astype(np.float64) for a in np.broadcast_arrays(sizes, rates))
    total = float(lam.sum())
    keep = (jumps > 0) & (lam > 0)
    jumps, lam = jumps[keep], lam[keep]
    if not lam.size:
        return 0.0
    top = float(jumps.max())
    reach = _reach(jumps, lam, total, top, confidence, given_event)
    # Many jumps pile up far from 0: only the window that holds the sum is resolved, the grid wraps around it.
    start = max(0.0, float(lam @ jumps) - 12 * math.sqrt(float(lam @ jumps**2)))
    step = (reach - start) / _CELLS
    first = math.floor(start / step)
    place = jumps / step
    low = np.floor(place).astype(np.int64)
    upper = place - low
    size = 2 * _CELLS
    severity = np.bincount(low % size, lam * (1 - upper), size)
    severity += np.bincount((low + 1) % size, lam * upper, size)
    zero_jumps = total - float(lam.sum())
    spectrum = np.asarray(fft.rfft(severity), dtype=np.complex128) + zero_jumps
    if given_event and total < 30:
        mass = fft.irfft(math.exp(-total) * np.expm1(spectrum)) / -math.expm1(-total)
    else:
        mass = fft.irfft(np.exp(spectrum - total))
    reached = np.flatnonzero(np.cumsum(np.roll(mass, -(first % size))) >= confidence - 1e-9)
    return float((first + reached[0]) * step) if reached.size else reach


def poisson_quantile(mean: float, confidence: float, *, given_event: bool = False) -> int:
    """Return the *confidence* quantile of a Poisson number of *mean*, or of it given that it is at least 1.

    Raises:
        OptionError: If *confidence* is out of range.
    """
    check_confidence(confidence)
    if mean <= 0:
        return 0
    if not given_event:
        return int(stats.poisson.ppf(confidence, mean))
    if mean > 20:
        return max(1, int(stats.poisson.isf((1 - confidence) * -math.expm1(-mean), mean)))
    # Summed term by term: at terrestrial rates 1 - (1 - q) P(N >= 1) would round to 1.
    count, share = 1, mean * math.exp(-mean) / -math.expm1(-mean)
    reached = share
    while reached < confidence and share > 1e-18:
        count += 1
        share *= mean / count
        reached += share
    return count


def _reach(
    jumps: NDArray[np.float64],
    lam: NDArray[np.float64],
    total: float,
    top: float,
    confidence: float,
    given_event: bool,
) -> float:
    """Return a sum that is passed with far less than ``1 - confidence``."""
    many = poisson_quantile(total, 1 - (1 - confidence) * 1e-3, given_event=given_event)
    spread = float(np.dot(lam, jumps)) + 12 * math.sqrt(float(np.dot(lam, jumps**2))) + 4 * top
    return max(top, min(many * top, spread))
