"""Projection onto {‖b‖_p <= eps, ‖b‖_0 <= n, low <= b <= high} of a flat array, in the set's own units."""

import math

import numpy as np

from faultsim.constraints.base import Floats
from faultsim.constraints.closed_form import lp_norm, top_n

_SLACK = 1e-13  # a rounding of the norm: what was projected once stays as it is, bit for bit
_BISECTIONS = 100


def project_lp_l0(values: Floats, room: Floats | None, *, p: float, eps: float, n: int | None) -> Floats:
    """Return a point of the set near *values*: for p = 1, 2 and inf the nearest, for other p the radial one.

    A point inside comes back unchanged, bit for bit, so a second projection changes nothing. With a box and a
    limit *n* together the elements are chosen by the distance they save before the norm is applied.

    Args:
        values: Shape ``(k,)``, finite.
        room: How far each element may lie from 0 in its own sign, shape ``(k,)``; ``None`` for no box.
        p: Order of the norm, 1 <= p <= inf.
        eps: Radius, at least 0.
        n: How many elements may be non-zero; ``None`` for all.

    Returns:
        The point, shape ``(k,)``.

    Examples:
        >>> project_lp_l0(np.array([3.0, -4.0, 1.0]), None, p=2, eps=1.0, n=2).round(12).tolist()
        [0.6, -0.8, 0.0]
        >>> project_lp_l0(np.array([3.0, -4.0, 1.0]), None, p=1, eps=2.0, n=None).tolist()
        [0.5, -1.5, 0.0]
    """
    if eps == 0:
        return np.zeros(values.size)
    magnitude = np.abs(values)
    limit = magnitude if room is None else np.minimum(magnitude, room)
    if math.isinf(p):
        limit = np.minimum(limit, eps)
    if n is not None and n < magnitude.size:
        keep = top_n(limit * (2 * magnitude - limit), n)  # the squared distance that keeping an element saves
        kept = np.zeros_like(limit)
        kept[keep] = limit[keep]
        magnitude, limit = np.where(kept > 0, magnitude, 0.0), kept
    if lp_norm(limit, p) > eps * (1 + _SLACK):
        limit = _soft(magnitude, limit, eps) if p == 1 else _radial(magnitude, limit, p, eps)
    return np.where(limit > 0, np.copysign(limit, values), 0.0)


def _radial(magnitude: Floats, limit: Floats, p: float, eps: float) -> Floats:
    """Return min(c·magnitude, limit) with the c at which the norm is eps."""
    size = lp_norm(magnitude, p)
    if np.array_equal(magnitude, limit):
        return magnitude * (eps / size)
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (low, middle) if lp_norm(np.minimum(middle * magnitude, limit), p) > eps else (middle, high)
    return np.minimum(low * magnitude, limit)


def _soft(magnitude: Floats, limit: Floats, eps: float) -> Floats:
    """Return clip(magnitude - λ, 0, limit) with the λ at which its sum is eps (Duchi et al. 2008, fig. 1)."""
    soft: Floats
    if np.array_equal(magnitude, limit):
        ordered = np.sort(magnitude)[::-1]
        shifts = (np.cumsum(ordered) - eps) / np.arange(1, ordered.size + 1)
        soft = np.maximum(magnitude - shifts[np.flatnonzero(ordered > shifts)[-1]], 0.0)
    else:
        low, high = 0.0, float(magnitude.max())
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            low, high = (middle, high) if np.clip(magnitude - middle, 0.0, limit).sum() > eps else (low, middle)
        soft = np.clip(magnitude - high, 0.0, limit)
    total = float(soft.sum())
    if total > eps * (1 + _SLACK):
        soft *= eps / total
    return soft
