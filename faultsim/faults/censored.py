"""Moments of conductances that stop at the ends of a range. No law lives here.

References:
    .. [Tobin1958] J. Tobin. Estimation of relationships for limited dependent variables. Econometrica
       26:24-36, 1958: the censored normal; moments by direct integration.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special


class MeanVar(NamedTuple):
    """Mean and variance, uS and uS², any shape."""

    mean: NDArray[np.float64]
    var: NDArray[np.float64]


def rectified(mean: NDArray[np.float64], var: NDArray[np.float64]) -> MeanVar:
    """Return mean and variance of ``max(0, X)``, X normal with *mean* and *var* (0 allowed), same shape.

    By direct integration, [Tobin1958]_: mean ``m Φ(z) + s φ(z)``, second moment ``(m² + s²) Φ(z) + m s
    φ(z)``, ``z = m/s``.
    """
    s = np.sqrt(var)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(s > 0, mean / np.where(s > 0, s, 1.0), np.where(mean >= 0, 40.0, -40.0))
    above = special.ndtr(z)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    first = mean * above + s * density
    second = (mean**2 + var) * above + mean * s * density
    return MeanVar(first, np.maximum(second - first**2, 0.0))


def floored(
    mean: NDArray[np.float64],
    var: NDArray[np.float64],
    shift: NDArray[np.float64] | float,
    more: NDArray[np.float64] | float,
    *,
    clipped: bool,
) -> MeanVar:
    """Return mean and variance of ``max(0, X + N)``, N normal noise with mean *shift* and variance *more*.

    Where X was *clipped* at 0 before, it is no normal: only what the noise adds to the clip is counted, so
    that no noise changes nothing.
    """
    after = rectified(mean + shift, var + more)
    if not clipped:
        return after
    before = rectified(mean, var)
    first = np.maximum(np.maximum(mean, 0.0) + after.mean - before.mean, 0.0)
    return MeanVar(first, np.maximum(var + after.var - before.var, 0.0))


def rectified_third(mean: NDArray[np.float64], var: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the third central moment of ``max(0, X)``, X normal with *mean* and *var*, uS³, same shape.

    From the raw moments of the censored normal, ``E[max(0, X)³] = (m³ + 3 m s²) Φ(z) + (m² + 2 s²) s φ(z)``.
    """
    s = np.sqrt(var)
    near = (s > 0) & (mean < 6 * s)  # beyond, nothing is cut and the difference of cubes would only cancel
    m, v, safe = (np.where(near, a, b) for a, b in ((mean, 0.0), (var, 1.0), (s, 1.0)))
    above, density = special.ndtr(m / safe), np.exp(-0.5 * (m / safe) ** 2) / np.sqrt(2 * np.pi)
    first = m * above + safe * density
    second = (m**2 + v) * above + m * safe * density
    third = (m**3 + 3 * m * v) * above + (m**2 + 2 * v) * safe * density
    return np.where(near, third - 3 * first * second + 2 * first**3, 0.0)


def censored(mean: NDArray[np.float64], var: NDArray[np.float64], low: float, high: float) -> MeanVar:
    """Return mean and variance of ``min(max(X, low), high)``, X normal with *mean* and *var* (0 allowed).

    Integrated over the inside and the two ends, [Tobin1958]_, about the mean so that nothing cancels.
    """
    s = np.sqrt(var)
    safe = np.where(s > 0, s, 1.0)
    a = np.where(s > 0, (low - mean) / safe, np.where(mean < low, 40.0, -40.0))
    b = np.where(s > 0, (high - mean) / safe, np.where(mean > high, -40.0, 40.0))
    below, above = special.ndtr(a), special.ndtr(-b)
    at_a, at_b = (np.exp(-0.5 * np.clip(z, -40, 40) ** 2) / np.sqrt(2 * np.pi) for z in (a, b))
    inside = np.maximum(1 - below - above, 0.0)
    first = s * (at_a - at_b) + below * (low - mean) + above * (high - mean)
    second = var * (inside + np.clip(a, -40, 40) * at_a - np.clip(b, -40, 40) * at_b)
    second += below * (low - mean) ** 2 + above * (high - mean) ** 2
    return MeanVar(mean + first, np.maximum(second - first**2, 0.0))
