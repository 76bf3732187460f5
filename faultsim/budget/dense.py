"""Budgets of mechanisms that move every weight a little: Gaussian, lognormal, drift, converters.

References:
    .. [MATH] The table of budgets in the design notes, §4, rows "Gaussian", "lognormal", "drift", "ADC/DAC".
    .. [Satterthwaite1946] F. E. Satterthwaite. An approximate distribution of estimates of variance
       components. Biometrics Bulletin 2:110-114, 1946: a sum of squares as a scaled chi-square with the
       same two moments.
    .. [Widrow1961] B. Widrow. Statistical analysis of amplitude-quantized sampled-data systems. AIEE
       Trans. 79:555-568,
       1961: rounding noise is uniform over one step, variance ``LSB**2 / 12``.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from faultsim.budget.base import Budget, check_confidence, check_norm, check_rate
from faultsim.errors import OptionError


def gaussian(
    *,
    mechanism: str,
    scope: str,
    sigma: ArrayLike,
    mean: ArrayLike = 0.0,
    elements: int,
    p: float,
    confidence: float,
    note: str = "",
) -> Budget:
    """Bound a delta whose elements are independent and normal: [MATH]_ "Gaussian sigma_i".

    - p = 2: ``|a|**2`` has mean ``sum(m² + σ²)`` and variance ``sum(2 σ⁴ + 4 m² σ²)``; its quantile is
      that of the scaled chi-square with both moments ([Satterthwaite1946]_): exactly ``σ sqrt(chi2.ppf(q,
      k))`` for equal σ, and the table's ``Σσ² + z sqrt(2 Σσ⁴)`` for many weights.
    - p = inf: the radius r with ``prod_i P(|a_i| <= r) = q``; for equal σ it is ``σ Φ⁻¹((1 + q**(1/k)) /
      2)``.
    - p = 1: mean plus z standard deviations of ``sum |a_i|`` (folded normals).

    Independent mechanisms add: give ``sqrt(sum of variances)`` and the sum of means.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        sigma: Standard deviation per element, value units, at least 0: a scalar or the tensor's shape.
        mean: Mean per element, value units, likewise.
        elements: Elements of the tensor, k.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.
        note: For the budget.

    Raises:
        OptionError: If p or confidence is out of range, or a sigma is negative or not finite.
    """
    check_norm(p)
    check_confidence(confidence)
    spreads, means = np.broadcast_arrays(np.asarray(sigma, np.float64), np.asarray(mean, np.float64))
    s, m = spreads.ravel(), means.ravel()
    if not (np.all(np.isfinite(s)) and np.all(s >= 0) and np.all(np.isfinite(m))):
        raise OptionError("sigma must be finite and at least 0, and mean finite; check the noise parameters")
    weight = 1.0 if s.size == elements else elements / max(s.size, 1)
    moved = round(float(np.count_nonzero((s > 0) | (m != 0)) * weight))
    eps = 0.0
    if moved and p == 2:
        expected = weight * float(np.sum(m**2 + s**2))
        variance = weight * float(np.sum(2 * s**4 + 4 * m**2 * s**2))
        eps = math.sqrt(scaled_chi_square(expected, variance, confidence))
    elif moved and p == 1:
        folded = folded_normal_mean(m, s)
        variance = weight * float(np.sum(np.maximum(m**2 + s**2 - folded**2, 0)))
        z = float(stats.norm.ppf(confidence))
        eps = max(0.0, weight * float(folded.sum()) + z * math.sqrt(variance))
    elif moved:
        eps = _largest(np.abs(m), s, weight, confidence)
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=moved, confidence=confidence, note=note)


def folded_normal_mean(mean: ArrayLike, sigma: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return ``E|X|`` of normal X, same shape (Leone et al., Technometrics 3:543, 1961); σ may be 0."""
    m, s = np.asarray(mean, np.float64), np.asarray(sigma, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where(s > 0, m / s, np.inf)
        value = s * math.sqrt(2 / math.pi) * np.exp(-0.5 * z**2)
    value += np.abs(m) * special.erf(np.abs(z) / math.sqrt(2))
    return np.where(s > 0, value, np.abs(m))


def lognormal_radius(norm: float, sigma: float) -> float:
    """Return the root mean square L2 norm of ``w (e^X - 1)``, X ~ N(0, σ²): [MATH]_ "lognormal".

    ``‖w‖ sqrt(e^{2σ²} - 2 e^{σ²/2} + 1)``; for small σ about ``‖w‖ σ``.

    Args:
        norm: L2 norm of the weights, value units.
        sigma: Standard deviation of the logarithm, dimensionless.
    """
    check_rate("sigma", sigma, top=math.inf)
    square = math.expm1(2 * sigma**2) - 2 * math.expm1(sigma**2 / 2)
    return norm * math.sqrt(max(square, 0.0))


def drift_gain(nu_mean: float, nu_std: float, log_time: float) -> float:
    """Return the common gain ``m = E[(t/t0)^-ν] = exp(-μL + σ²L²/2)`` of power-law drift: [MATH]_ "drift".

    Args:
        nu_mean: Mean drift exponent μ, dimensionless.
        nu_std: Its spread over devices σ, at least 0.
        log_time: ``L = ln(t / t0)``, at least 0.
    """
    check_rate("nu_std", nu_std, top=math.inf)
    check_rate("log_time", log_time, top=math.inf)
    return math.exp(-nu_mean * log_time + (nu_std * log_time) ** 2 / 2)


def drift_radius(norm: float, nu_mean: float, nu_std: float, log_time: float, *, compensated: bool) -> float:
    """Return the root mean square L2 norm of a drifted tensor's delta: [MATH]_ "drift".

    Raw: ``‖w‖ sqrt(e^{-2μL + 2σ²L²} - 2m + 1)``, m from `drift_gain`. After the common gain is divided out:
    ``‖w‖ sqrt(e^{σ²L²} - 1)``, the spread between devices alone.

    Args:
        norm: L2 norm of the weights, value units.
        nu_mean: Mean drift exponent μ.
        nu_std: Its spread over devices σ.
        log_time: ``L = ln(t / t0)``.
        compensated: Whether one gain for the whole tensor is corrected.
    """
    spread = (nu_std * log_time) ** 2
    if compensated:
        return norm * math.sqrt(math.expm1(spread))
    gain = drift_gain(nu_mean, nu_std, log_time)
    return norm * math.sqrt(max(math.exp(-2 * nu_mean * log_time + 2 * spread) - 2 * gain + 1, 0.0))


def converter(*, mechanism: str, scope: str, lsb: float, outputs: int, p: float, confidence: float) -> Budget:
    """Bound the rounding of an ADC or DAC: [MATH]_ "ADC/DAC", inside its range (clipping is not counted).

    p = inf: ``LSB/2``. p = 2: ``LSB sqrt(m/12)``, plus z standard deviations of the sum of squares
    (``LSB⁴ m / 180``), [Widrow1961]_. p = 1: ``LSB m / 4`` plus z of ``LSB² m / 48``. Never above ``m``
    half steps.

    Args:
        mechanism: Name for the budget.
        scope: Name for the budget.
        lsb: Step in output units, at least 0.
        outputs: Converted numbers, m.
        p: 1, 2 or ``math.inf``.
        confidence: Quantile, strictly between 0 and 1.

    Raises:
        OptionError: If an argument is out of range.
    """
    check_norm(p)
    check_confidence(confidence)
    check_rate("lsb", lsb, top=math.inf)
    z = float(stats.norm.ppf(confidence))
    if p == math.inf:
        eps = lsb / 2
    elif p == 2:
        square = lsb**2 * outputs / 12 + z * math.sqrt(lsb**4 * outputs / 180)
        eps = math.sqrt(min(max(square, 0.0), outputs * lsb**2 / 4))
    else:
        eps = min(max(lsb * outputs / 4 + z * math.sqrt(lsb**2 * outputs / 48), 0.0), outputs * lsb / 2)
    n = outputs if lsb > 0 else 0
    return Budget(mechanism=mechanism, scope=scope, p=p, eps=eps, n=n, confidence=confidence)


def scaled_chi_square(mean: float, variance: float, confidence: float) -> float:
    """Return the quantile of the scaled chi-square with this mean and variance, [Satterthwaite1946]_."""
    if variance <= mean**2 * 1e-24:
        return mean
    return float(stats.gamma.ppf(confidence, mean**2 / variance, scale=variance / mean))


def _largest(
    mean: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    sigma: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    weight: float,
    confidence: float,
) -> float:
    """Radius that all elements stay within at once with probability *confidence*."""
    fixed = float(mean[sigma == 0].max(initial=0.0))
    m, s = mean[sigma > 0], sigma[sigma > 0]
    if not s.size:
        return fixed

    def excess(radius: float) -> float:
        outside = special.ndtr(-(radius - m) / s) + special.ndtr(-(radius + m) / s)
        return weight * float(np.sum(np.log1p(-np.minimum(outside, 1 - 1e-16)))) - math.log(confidence)

    top = float(np.max(m + 12 * s)) + 1e-300
    if excess(top) < 0:
        return top
    return max(fixed, float(optimize.brentq(excess, 0.0, top, xtol=1e-10 * top)))
