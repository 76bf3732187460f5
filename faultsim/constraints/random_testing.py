"""What random trials can see of the worst case, to first order: Theorem 1 and the forecast from it.

A random corruption ã on the sphere of radius eps in k dimensions (p = 2, n = k) meets the gradient g of norm
G. Its *share* η = |ã·g| / (eps·G) is the part of the worst first-order damage that the trial shows, in [0,
1]. Curvature lets random noise catch up at large eps: everything here is first order only, and a reader must
be told so.

References:
    .. [Sun2021] Sun, Zhang et al. AAAI 2021, arXiv 2006.05620, theorem 1. Eq. 8 and 9 are right as printed;
        F_1 there is Gauss' hypergeometric function 2F1, and eq. 9 is the regularised incomplete beta function
        I_{x²}(½, (k-1)/2).
"""

import math

import numpy as np
from scipy.special import betainc, betaincc, betaln

from faultsim.errors import OptionError

_TINY = 1e-250  # below it a probability is computed by its logarithm


def share_density(x: float, k: int) -> float:
    """Return the probability density of the share η at *x*.

    Args:
        x: Share, 0 <= x <= 1 (at x = 1 and k = 2 the density is infinite).
        k: Number of elements that can be corrupted, at least 2.

    Raises:
        OptionError: If x or k is out of its range.

    Examples:
        >>> share_density(0.5, 3)  # in three dimensions the share is uniform
        1.0

    References:
        [Sun2021]_ eq. 8.
    """
    _check(x, k)
    if x == 1:
        return math.inf if k == 2 else (1.0 if k == 3 else 0.0)
    log = math.log(2) + 0.5 * (k - 3) * math.log1p(-x * x) - float(betaln(0.5, 0.5 * (k - 1)))
    return math.exp(log)


def share_cdf(x: float, k: int) -> float:
    """Return the probability that one random trial shows at most the share *x* of the worst case.

    Args:
        x: Share, 0 <= x <= 1.
        k: Number of elements that can be corrupted, at least 2.

    Raises:
        OptionError: If x or k is out of its range.

    Examples:
        >>> round(share_cdf(0.5, 2), 12)
        0.333333333333

    References:
        [Sun2021]_ eq. 9.
    """
    _check(x, k)
    return float(betainc(0.5, 0.5 * (k - 1), x * x))


def log_share_survival(x: float, k: int) -> float:
    """Return the natural logarithm of the probability that one random trial shows more than the share *x*.

    Finite where the probability itself is far below the smallest float: for k up to 1e9 and beyond.

    Args:
        x: Share, 0 <= x <= 1.
        k: Number of elements that can be corrupted, at least 2.

    Returns:
        At most 0; ``-inf`` at x = 1.

    Raises:
        OptionError: If x or k is out of its range.

    Examples:
        >>> round(log_share_survival(0.5, 1_000_000), 1)
        -143847.3

    References:
        [Sun2021]_ eq. 9; the continued fraction of the incomplete beta function, DLMF 8.17.22.
    """
    _check(x, k)
    if x == 1:
        return -math.inf
    survival = float(betaincc(0.5, 0.5 * (k - 1), x * x))
    if survival > _TINY:
        return math.log(survival)
    a, b = 0.5 * (k - 1), 0.5
    front = a * math.log1p(-x * x) + math.log(x) - math.log(a) - float(betaln(b, a))
    return front + math.log(_continued_fraction(a, b, 1 - x * x))


def expected_best_share(k: int, trials: int) -> float:
    """Return the expected largest ã·g of *trials* random corruptions, as a fraction of the worst eps·G.

    Signed: a trial that lowers the loss is no find. About √(2 ln(trials) / k) when both are large.

    Args:
        k: Number of elements that can be corrupted, at least 2.
        trials: Number of random trials, at least 1.

    Returns:
        A fraction in [0, 1).

    Raises:
        OptionError: If k or trials is out of its range.

    Examples:
        >>> round(expected_best_share(2778, 100), 6)
        0.04756
    """
    _check(0.0, k)
    if trials < 1:
        raise OptionError(f"trials is {trials}, it must be at least 1; give the number of random chips")
    # E[max] = ∫ (1 - F^N)(x) - F^N(-x) dx over [0, 1] with F(±x) = (1 ± I_x²) / 2; all of it lies below 45
    # sigma.
    end = min(1.0, 45.0 / math.sqrt(k))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    panels = np.linspace(0.0, end, 65)
    half = 0.5 * np.diff(panels)[:, None]
    x = (panels[:-1, None] + half + half * nodes).reshape(-1)
    tail = 0.5 * betaincc(0.5, 0.5 * (k - 1), x * x)
    above = -np.expm1(trials * np.log1p(-tail))
    below = np.exp(trials * np.log(np.maximum(tail, 1e-300)))
    return float((above - below) @ (half * weights).reshape(-1))


def log10_trials_for_even_chance(fraction: float, k: int) -> float:
    """Return log10 of the random trials it takes for an even chance to see *fraction* of the worst case.

    Only damage counts, ã·g > fraction·eps·G: half of what `log_share_survival` counts, which knows no sign. A
    forecast to first order: real losses curve.

    Args:
        fraction: The share of the worst case to be seen, 0 < fraction < 1.
        k: Number of elements that can be corrupted, at least 2.

    Returns:
        log10 of the number of trials, finite for k up to 1e9 and beyond.

    Raises:
        OptionError: If fraction or k is out of its range.

    Examples:
        >>> [round(log10_trials_for_even_chance(0.5, k), 1) for k in (1_000, 2_778, 1_000_000)]
        [63.8, 175.1, 62472.2]
    """
    if not 0 < fraction < 1:
        raise OptionError(f"fraction is {fraction}, it must be between 0 and 1; 0.5 asks for half of the worst case")
    log_seen = log_share_survival(fraction, k) - math.log(2)
    if log_seen > -30:
        return math.log10(math.log(2) / -math.log1p(-math.exp(log_seen)))
    return math.log10(math.log(2)) - log_seen / math.log(10)


def _continued_fraction(a: float, b: float, y: float) -> float:
    """Return B(a, b) I_y(a, b) a / (y^a (1-y)^b) by Lentz's method, for y below the mean a / (a + b)."""
    tiny, c = 1e-300, 1.0
    d = 1 / _away(1 - (a + b) * y / (a + 1), tiny)
    value = d
    for m in range(1, 100_000):
        for numerator in (
            m * (b - m) * y / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * y / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + numerator * d, tiny)
            c = _away(1 + numerator / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _check(x: float, k: int) -> None:
    if not 0 <= x <= 1:
        raise OptionError(f"the share is {x}, it must be from 0 to 1; it is a fraction of the worst case")
    if k < 2:
        raise OptionError(f"k is {k}, it must be at least 2; one element has no random direction but its sign")
