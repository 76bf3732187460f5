"""The maximiser of a·g when, besides p-norm and count, every element has limited room. Flat arrays only.

A device cannot store every number: a conductance ends at g_max, an integer code at its last code. With room_i
the distance to that end in the direction of g_i, the maximiser is a_i = sgn(g_i) · min(t |g_i|^(1/(p-1)),
room_i) with the t at which the norm is spent (the KKT conditions of a separable concave problem).
"""

import math

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints.base import Floats
from faultsim.constraints.closed_form import lp_norm, peak_of, top_n

_BISECTIONS = 50
_SURE = 1e-4  # width of the bracket below which one support at both its ends ends the search


def argmax_boxed(direction: Floats, room: Floats, *, p: float, eps: float, n: int | None = None) -> Floats:
    """Return the corruption with the largest inner product with *direction* that also stays within *room*.

    Exact for ``p = inf`` and for ``n`` of all elements. For a smaller *n* and finite *p* the support is
    chosen by the Lagrangian of the norm, which is exact unless the support changes at the very multiplier
    that spends the norm; then the best of the neighbouring supports is returned, a lower bound of the
    maximum.

    Args:
        direction: Shape ``(k,)``, finite.
        room: How far each element may move in the sign of its direction, shape ``(k,)``, 0 to inf.
        p: Order of the norm, 1 <= p <= inf.
        eps: The norm to spend, at least 0; less is spent where the room ends first.
        n: How many elements may move; ``None`` for all.

    Returns:
        The corruption, shape ``(k,)``.

    Raises:
        NoMaximiserError: If the direction is zero wherever there is room.
        ConstraintError: If *direction* holds NaN or infinity.

    Examples:
        >>> argmax_boxed(np.array([3.0, 4.0]), np.array([9.0, 0.5]), p=2, eps=1.0).round(6).tolist()
        [0.866025, 0.5]
    """
    peak_of(np.abs(direction))
    reach = np.minimum(room, eps)
    magnitude = np.abs(np.where(room > 0, direction, 0.0))
    magnitude = magnitude / peak_of(magnitude)
    out = np.zeros(direction.size)
    movable = np.flatnonzero((magnitude > 0) & (reach > 0))
    if n == 0 or not movable.size:
        return out
    magnitude, reach = magnitude[movable], reach[movable]
    limit = movable.size if n is None else min(n, movable.size)
    best = max(
        (
            (support, _fill(magnitude[support], reach[support], p, eps))
            for support in _supports(magnitude, reach, p, eps, limit)
        ),
        key=lambda pair: float(magnitude[pair[0]] @ pair[1]),
    )
    where = movable[best[0]]
    out[where] = np.copysign(best[1], direction[where])
    return out


def _supports(magnitude: Floats, reach: Floats, p: float, eps: float, n: int) -> list[NDArray[np.intp]]:
    """Return the supports worth filling: one where the choice is exact, else those around the critical t."""
    if n == magnitude.size:
        return [np.arange(n)]
    by_gain = top_n(magnitude * reach, n)
    if math.isinf(p):
        return [by_gain]
    low, high = _bracket(magnitude, reach, p, eps)
    least, most = (_chosen(magnitude, reach, p, theta, n)[0] for theta in (low, high))
    for _ in range(_BISECTIONS):
        if high - low < _SURE and np.array_equal(least, most):
            break
        middle = 0.5 * (low + high)
        chosen, moves = _chosen(magnitude, reach, p, middle, n)
        if lp_norm(moves[chosen], p) > eps:
            high, most = middle, chosen
        else:
            low, least = middle, chosen
    return [by_gain, top_n(magnitude, n), least, most]


def _bracket(magnitude: Floats, reach: Floats, p: float, eps: float) -> tuple[float, float]:
    """Return a log t (for p = 1 a -λ) at which the norm is not spent, and one at which it or all room is."""
    if p == 1:
        return -1.0, 0.0
    low = math.log(eps) - math.log(magnitude.size) / p
    return low, max(low, float(np.max(np.log(reach) - np.log(magnitude) / (p - 1))))


def _chosen(magnitude: Floats, reach: Floats, p: float, theta: float, n: int) -> tuple[NDArray[np.intp], Floats]:
    """Return the n elements of largest |g|u - λu^p at one multiplier, and every element's move u there."""
    if p == 1:
        gain = np.maximum(magnitude + theta, 0.0)
        return top_n(gain * reach, n), np.where(gain > 0, reach, 0.0)
    moves = np.minimum(np.exp(np.minimum(theta + np.log(magnitude) / (p - 1), 709.0)), reach)
    with np.errstate(divide="ignore"):
        cost = moves * np.exp((p - 1) * (np.log(moves) - theta)) / p
    return top_n(np.maximum(magnitude * moves - cost, 0.0), n), moves


def _fill(magnitude: Floats, reach: Floats, p: float, eps: float) -> Floats:
    """Return the exact maximiser on a fixed support: moves from 0 to *reach*, p-norm at most *eps*."""
    if math.isinf(p):
        return reach
    if p == 1:
        order = np.argsort(-magnitude, kind="stable")
        spent = np.concatenate(([0.0], np.cumsum(reach[order])[:-1]))
        filled = np.empty_like(reach)
        filled[order] = np.clip(eps - spent, 0.0, reach[order])
        return filled
    if lp_norm(reach, p) <= eps:
        return reach
    # In logs: at p = 1.05 the powers of small magnitudes underflow, and yet they move where the large ones
    # are full.
    log_base, log_reach = np.log(magnitude) / (p - 1), np.log(reach)
    full_at = log_reach - log_base  # the log t from which an element is full
    order = np.argsort(full_at, kind="stable")
    low, high = 0, order.size - 1
    while low < high:  # the first breakpoint at which the norm exceeds eps
        middle = (low + high) // 2
        moves = np.exp(np.minimum(full_at[order[middle]] + log_base, log_reach))
        low, high = (low, middle) if lp_norm(moves, p) > eps else (middle + 1, high)
    full, free = order[:low], order[low:]
    left = max(1.0 - (lp_norm(reach[full], p) / eps) ** p, 0.0) ** (1 / p) * eps
    unit = np.exp(log_base[free] - log_base[free].max())
    moves = reach.copy()
    moves[free] = np.minimum(left * unit / lp_norm(unit, p), reach[free])
    return moves
