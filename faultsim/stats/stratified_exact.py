"""The guaranteed upper end for a stratified mean: Chernoff's bound at the worst rates. Only arrays and numbers here.

For rates p and the estimate T = sum(W·S/n), with S a sum of n values in [0, 1] of mean p, Chernoff and Hoeffding give
for each s > 0

    P(T <= t) <= exp(s·t) · prod((1 - p_h·c_h)^n_h),    c_h = 1 - exp(-s·W_h/n_h).

The upper end is the largest sum(W·p) at which this is not below the tail for any s, within the rates that each stratum
alone allows. Each s by itself gives a valid end (the end for all s is smaller), and the largest sum for one s
is a water level: 1 - p_h·c_h is proportional to n_h·c_h/W_h, cut to the box.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlog1py, xlogy

Vector = NDArray[np.float64]
_BOX_SHARE = 0.1  # of the error, spent on the rates of single strata
_HALVINGS = 60
_TILTS = 40
_ROUNDS = 3


def upper_end(units: Vector, sampled: Vector, hits: Vector, *, tail: float, replacement: bool) -> float:
    """Return a number that the mean over all units exceeds with probability at most *tail*.

    Args:
        units: Units in each stratum, shape (strata,).
        sampled: Units sampled in each, at least 1, shape (strata,).
        hits: Sum of their values in [0, 1], shape (strata,).
        tail: One-sided error, strictly between 0 and 1.
        replacement: Whether units may have been drawn twice.
    """
    weights = units / units.sum()
    best = float(weights @ (hits / sampled))
    low, high = np.zeros_like(units), np.ones_like(units)
    if units.size > 1:
        each = math.log(2 * units.size / (_BOX_SHARE * tail))
        tail *= 1 - _BOX_SHARE
        high = _chernoff(hits, sampled, each)
        low = 1 - _chernoff(sampled - hits, sampled, each)
    if not replacement:  # what the unseen units allow; a census is known
        low = np.maximum(low, hits / units)
        high = np.minimum(high, (hits + units - sampled) / units)
    # The tilt that is best for a normal law, and far to both sides of it.
    scale = math.sqrt(2 * math.log(1 / tail) / float(np.sum(weights**2 / sampled)))
    start, stop = math.log(scale) - 3, math.log(scale) + 12
    end = 1.0
    for _ in range(_ROUNDS):
        tilts = np.linspace(start, stop, _TILTS)
        ends = _worst_mean(np.exp(tilts)[:, None], weights, sampled, low, high, best, math.log(1 / tail))
        at, step = int(np.argmin(ends)), tilts[1] - tilts[0]
        end = min(end, float(ends[at]))
        start, stop = tilts[at] - step, tilts[at] + step
    return min(1.0, max(best, end))


def _chernoff(hits: Vector, sampled: Vector, budget: float) -> Vector:
    """Return each stratum's largest rate with ``n·KL(hits/n, rate) <= budget`` (Hoeffding 1963, thm. 1), from above."""
    near, far = hits / sampled, np.ones_like(hits)
    share = near.copy()
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = xlogy(share, share) + xlog1py(1 - share, -share) - xlogy(share, middle) - xlog1py(1 - share, -middle)
        inside = sampled * gap <= budget
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return far


def _worst_mean(
    tilt: Vector, weights: Vector, sampled: Vector, low: Vector, high: Vector, best: float, log_error: float
) -> Vector:
    """Return, for each tilt, the largest mean in the box that Chernoff's bound at this tilt does not rule out."""
    cut = -np.expm1(-tilt * weights / sampled)
    floor, roof = 1 - high * cut, 1 - low * cut
    reach = -(log_error + tilt[:, 0] * best)  # the least sum of n·log(1 - p·c) that is kept
    # The level in logarithms: below the first every stratum is at its floor, above the last at its roof.
    slope = sampled * cut / weights
    with np.errstate(divide="ignore"):
        log_floor, log_roof, log_slope = np.log(floor), np.log(roof), np.log(slope)
    log_floor = np.maximum(log_floor, -800.0)  # a rate of 1 at full cut: no log of zero
    under = (log_floor - log_slope).min(axis=1)
    over = (log_roof - log_slope).max(axis=1)
    for _ in range(_HALVINGS):
        middle = (under + over) / 2
        log_left = np.clip(log_slope + middle[:, None], log_floor, log_roof)
        kept = log_left @ sampled >= reach
        over, under = np.where(kept, middle, over), np.where(kept, under, middle)
    # At the lower level the rates are too large to be kept, so the mean is at or above the largest kept one.
    left = np.exp(np.clip(log_slope + under[:, None], log_floor, log_roof))
    rates = np.clip((1 - left) / cut, low, high)
    return np.asarray(rates @ weights)
