"""The largest error of weights that are each two noisy devices which stop at 0. No budget and no law lives here.

References:
    .. [Tobin1958] J. Tobin. Estimation of relationships for limited dependent variables. Econometrica
       26:24-36, 1958: the censored normal.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_REACH = 8.0
"""Standard deviations that are integrated over to either side."""
_MOST = 20_000
"""Weights that are followed; of more, as many, evenly over their spreads."""
_LEVELS = np.linspace(-5.0, 8.0, 2601)
"""Means over standard deviations of normals that are stopped at 0."""


class Pair(NamedTuple):
    """Two devices of each weight, arrays of shape ``(2, weights)``.

    Attributes:
        mean: Mean of the device's conductance, which stops at 0.
        var: Its variance.
        worth: What a unit of it adds to the weight, of either sign.
    """

    mean: Floats
    var: Floats
    worth: Floats


def largest_of_pairs(pair: Pair, aim: Floats, *, confidence: float, near: float) -> float:
    """Return the radius that all errors ``sum worth·g - aim`` stay within at once with probability *confidence*.

    Each conductance is taken as a normal that stops at 0 ([Tobin1958]_) with its mean and variance; an idle device's
    can only grow, so that its pair errs farther to one side than to the other, which no normal of the weight tells.
    The device that adds less is integrated over, the other's tail is closed.

    Args:
        pair: The devices.
        aim: Value without error, shape ``(weights,)``.
        confidence: Quantile over chips, strictly between 0 and 1.
        near: A radius near the answer, above 0, to start from.
    """
    spread = np.abs(pair.worth) * np.sqrt(pair.var)
    narrow = (spread[0] > spread[1]).astype(np.int64)
    order = np.argsort(spread.max(axis=0))
    weight = 1.0
    if order.size > _MOST:
        chosen = order[np.linspace(0, order.size - 1, _MOST).astype(np.int64)]
        weight = order.size / _MOST
    else:
        chosen = order
    at, side = chosen, narrow[chosen]
    mean, std = _underlying(pair.mean[:, at], pair.var[:, at])
    columns = np.arange(at.size)
    worth = pair.worth[:, at]
    turn = np.where(worth[1 - side, columns] < 0, -1.0, 1.0)  # errors of both signs count: the wide device adds
    small = _Device(mean[side, columns], std[side, columns], turn * worth[side, columns])
    wide = _Device(mean[1 - side, columns], std[1 - side, columns], turn * worth[1 - side, columns])
    places, shares = _places(small)
    shift = small.worth * places - turn * aim[at]

    def excess(radius: float) -> float:
        outside = np.sum(shares * (wide.above(radius - shift) + wide.below(-radius - shift)), axis=0)
        return weight * float(np.sum(np.log1p(-np.minimum(outside, 1 - 1e-16)))) - math.log(confidence)

    low, high = 0.9 * near, 1.1 * near
    while excess(high) < 0:
        low, high = high, 2 * high
    while low > 1e-9 * near and excess(low) > 0:
        low, high = 0.5 * low, low
    if excess(low) >= 0:
        return low  # no error at all is as likely as that
    return float(optimize.brentq(excess, low, high, xtol=1e-9 * near))


class _Device(NamedTuple):
    """One device of each weight: the normal behind it, and what a unit of it adds."""

    mean: Floats
    std: Floats
    worth: Floats

    def above(self, value: Floats) -> Floats:
        """Return ``P(worth·g > value)``, worth above 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = special.ndtr((self.mean - value / self.worth) / self.std)
        fixed = self.mean * self.worth > value
        return np.where(value < 0, 1.0, np.where((self.std > 0) & (self.worth > 0), tail, fixed))

    def below(self, value: Floats) -> Floats:
        """Return ``P(worth·g < value)``, worth above 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = special.ndtr((value / self.worth - self.mean) / self.std)
        fixed = self.mean * self.worth < value
        return np.where(value <= 0, 0.0, np.where((self.std > 0) & (self.worth > 0), tail, fixed))


def _places(device: _Device) -> tuple[Floats, Floats]:
    """Return values of a device and their probabilities, each of shape ``(places, weights)``: 0, and those above."""
    low = np.maximum(device.mean - _REACH * device.std, 0.0)
    high = np.maximum(device.mean + _REACH * device.std, low)
    half = 0.5 * (high - low)
    above = low + half * (_NODES[:, None] + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (above - device.mean) / device.std
        shares = half * _WEIGHTS[:, None] * np.exp(-0.5 * z**2) / (device.std * math.sqrt(2 * math.pi))
        stopped = special.ndtr(-device.mean / device.std)
    still = device.std == 0
    shares = np.where(still, 1.0 / len(_NODES), shares)
    above = np.where(still, np.maximum(device.mean, 0.0), above)
    stopped = np.where(still, 0.0, stopped)
    places = np.concatenate([np.zeros((1, device.mean.size)), above])
    return places, np.concatenate([stopped[None], shares])


def _underlying(mean: Floats, var: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the normals that have this mean and variance once stopped at 0."""
    above, density = special.ndtr(_LEVELS), np.exp(-0.5 * _LEVELS**2) / math.sqrt(2 * math.pi)
    first = _LEVELS * above + density
    second = np.sqrt((_LEVELS**2 + 1) * above + _LEVELS * density - first**2)
    std = np.sqrt(var)
    ratio = np.divide(mean, std, out=np.full_like(mean, np.inf), where=std > 0)
    level = np.interp(ratio, first / second, _LEVELS)
    whole = ratio >= _LEVELS[-1]
    s = np.where(whole, std, std / np.interp(level, _LEVELS, second))
    return np.where(whole, mean, level * s), s
