"""Quantiles of compound Poisson sums, by Fourier inversion on a grid. No device knowledge lives here."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, stats

from faultsim.budget.base import check_confidence

_CELLS = 2**16
"""Grid cells up to the largest plausible sum: a quantile is read to within 1/65536 of it, upwards."""

_COARSE = 1024
"""Cells from 0 within which a quantile is read again on a finer grid."""


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
    if not given_event and math.exp(-float(lam[keep].sum())) >= confidence:
        return 0.0  # a sum of no jump at all is likely enough
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
    if not reached.size:
        return reach
    place_found = first + int(reached[0])
    if place_found < _COARSE and not given_event:
        return _refined(jumps, lam, (place_found + 2) * step, confidence, place_found * step)
    return float(place_found * step)


def _refined(
    jumps: NDArray[np.float64], lam: NDArray[np.float64], bound: float, confidence: float, coarse: float
) -> float:
    """Return a quantile below *bound* that the grid up to the largest jump is too coarse for.

    A sum below *bound* has no jump above it: ``P(S <= s) = P(no large jump) P(small jumps <= s)``, so the small jumps
    alone, at a confidence that makes up for the large ones, have a finer grid.
    """
    small = jumps <= bound
    if small.all():
        return coarse
    left = confidence * math.exp(float(lam[~small].sum()))
    if left >= 1 - 1e-9:
        return coarse
    return compound_quantile(jumps[small], lam[small], left)


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
    nearly = min(1 - (1 - confidence) * 1e-3, math.nextafter(1.0, 0.0))  # rounds to 1 at 14 nines
    many = poisson_quantile(total, nearly, given_event=given_event)
    spread = float(np.dot(lam, jumps)) + 12 * math.sqrt(float(np.dot(lam, jumps**2))) + 4 * top
    return max(top, min(many * top, spread))
