"""The corruption that maximises a·g over {‖a‖_p = eps, ‖a‖_0 <= n}, exactly. No scale, box or names here.

With h = top_n(g) and q = p / (p - 1) the maximiser is::

    a = eps · sgn(h) ⊙ |h|^(1/(p-1)) / ‖h‖_q^(1/(p-1)),        a·g = eps · ‖h‖_q

which is eq. 5 (n = k) and eq. 10 (n < k) of [Sun2021]_ with the denominators put right: as printed, both
denominators give a corruption whose p-norm is not eps (at p = 3, eps = 1: 0.26 and 0.14).

References:
    .. [Sun2021] Sun, Zhang et al. AAAI 2021, arXiv 2006.05620.
"""

import math

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints.base import Floats, NoMaximiserError
from faultsim.errors import ConstraintError


def top_n(magnitude: Floats, n: int | None) -> NDArray[np.intp]:
    """Return the flat indices of the *n* largest elements of *magnitude*, ascending; never those of zeros.

    Of equal elements at the threshold the lowest flat indices are taken: a mask ``magnitude >= threshold``
    would keep all of them and break the limit *n*.

    Args:
        magnitude: Shape ``(k,)``, not negative.
        n: How many, at least 0; ``None`` for all.

    Returns:
        At most *n* indices, fewer where fewer elements are positive.

    Examples:
        >>> top_n(np.array([1.0, 3.0, 1.0, 0.0, 1.0]), 3).tolist()
        [0, 1, 2]
    """
    k = magnitude.size
    if n is None or n >= k:
        return np.flatnonzero(magnitude)
    if n == 0:
        return np.empty(0, dtype=np.intp)
    if np.count_nonzero(magnitude) <= n:  # a sparse corruption: partition is slow on many equal zeros
        return np.flatnonzero(magnitude)
    threshold = np.partition(magnitude, k - n)[k - n]
    above = np.flatnonzero(magnitude > threshold)
    tied = np.flatnonzero(magnitude == threshold)[: n - above.size]
    return np.sort(np.concatenate((above, tied)))


def argmax_lp_l0(direction: NDArray[np.floating], *, p: float, eps: float, n: int | None = None) -> Floats:
    """Return the corruption of p-norm *eps* on *n* elements with the largest inner product with *direction*.

    Elements whose direction is zero never move, whatever *n* allows; ties at the n-th place, and for ``p =
    1`` at the first, go to the lowest flat index (row-major). Computed in float64, divided by the largest
    magnitude before the power: the naive form is 0/0 at ``p = 1.05`` in float32.

    Args:
        direction: A gradient or any other direction, any shape, finite.
        p: Order of the norm, 1 <= p <= inf.
        eps: The norm to spend, in the units of the tensor, at least 0.
        n: How many elements may move, at least 0; ``None`` for all.

    Returns:
        The maximiser, float64, shaped as *direction*.

    Raises:
        NoMaximiserError: If *direction* is zero everywhere.
        ConstraintError: If *direction* holds NaN or infinity.

    Examples:
        >>> argmax_lp_l0(np.array([3.0, -4.0, 1.0]), p=2, eps=1.0, n=2).round(12).tolist()
        [0.6, -0.8, 0.0]
        >>> argmax_lp_l0(np.array([3.0, -4.0, 1.0]), p=1, eps=0.5).tolist()
        [0.0, -0.5, 0.0]

    References:
        [Sun2021]_ eq. 5 and 10, whose printed denominators are wrong (see the module's docstring).
    """
    flat = np.asarray(direction, dtype=np.float64).reshape(-1)
    magnitude = np.abs(flat)
    peak = peak_of(magnitude)
    out = np.zeros(flat.size)
    if n == 0:
        return out.reshape(np.shape(direction))
    if p == 1:
        first = int(np.argmax(magnitude))
        out[first] = math.copysign(eps, flat[first])
        return out.reshape(np.shape(direction))
    if n is None or n >= flat.size:
        magnitude /= peak
        np.copysign(eps * _unit(magnitude, p), flat, out=out)
        out[flat == 0] = 0.0
        return out.reshape(np.shape(direction))
    keep = top_n(magnitude, n)
    out[keep] = np.copysign(eps * _unit(magnitude[keep] / peak, p), flat[keep])
    return out.reshape(np.shape(direction))


def dual_norm(direction: NDArray[np.floating], *, p: float, n: int | None = None) -> float:
    """Return ‖top_n(direction)‖_q with q = p/(p-1): the largest a·direction over ‖a‖_p <= 1, ‖a‖_0 <= n.

    Times eps this is the paper's indicator of how much a corruption can raise the loss, to first order only.

    Args:
        direction: Any shape, finite.
        p: Order of the corruption's norm, 1 <= p <= inf (not q).
        n: How many elements may move, at least 0; ``None`` for all.

    Raises:
        ConstraintError: If *direction* holds NaN or infinity.

    Examples:
        >>> dual_norm(np.array([3.0, -4.0]), p=2), dual_norm(np.array([3.0, -4.0]), p=math.inf)
        (5.0, 7.0)

    References:
        [Sun2021]_ eq. 6.
    """
    magnitude = np.abs(np.asarray(direction, dtype=np.float64).reshape(-1))
    if n == 0 or not magnitude.size:
        return 0.0
    peak = float(magnitude.max())
    if not math.isfinite(peak):
        raise _not_finite(peak)
    if peak == 0 or p == 1:
        return peak
    kept = magnitude / peak if n is None or n >= magnitude.size else magnitude[top_n(magnitude, n)] / peak
    return peak * lp_norm(kept, 1.0 if math.isinf(p) else p / (p - 1))


def lp_norm(values: Floats, p: float) -> float:
    """Return ‖values‖_p of a flat array, 1 <= p <= inf, whose powers do not overflow; NaN if one is there."""
    if not values.size:
        return 0.0
    magnitude = np.abs(values)
    peak = float(magnitude.max())
    if math.isinf(p) or peak == 0 or not math.isfinite(peak):
        return peak
    if p == 1:
        return float(magnitude.sum())
    magnitude /= peak
    total: float = float(np.power(magnitude, p, out=magnitude).sum()) ** (1 / p)
    return peak * total


def peak_of(magnitude: Floats) -> float:
    """Return the largest element, which a solver divides by.

    Raises:
        NoMaximiserError: If it is zero, or there are no elements.
        ConstraintError: If it is not finite.
    """
    peak = float(magnitude.max()) if magnitude.size else 0.0
    if not math.isfinite(peak):
        raise _not_finite(peak)
    if peak == 0:
        raise NoMaximiserError(
            f"the direction is zero on all {magnitude.size} elements, it must have a non-zero one; "
            "to first order nothing matters here, so start from a random corruption"
        )
    return peak


def _unit(scaled: Floats, p: float) -> Floats:
    """Return the maximiser of p-norm 1 for magnitudes whose maximum is 1; p > 1."""
    if math.isinf(p):
        return np.ones_like(scaled)
    powered = scaled if p == 2 else np.power(scaled, 1 / (p - 1))
    return powered / lp_norm(powered, p)


def _not_finite(peak: float) -> ConstraintError:
    return ConstraintError(
        f"the direction holds {peak}, all its elements must be finite; "
        "check the point at which the gradient was taken for overflow"
    )
