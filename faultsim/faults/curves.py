"""Curves over the conductance that laws take their parameters from. No law lives here.

References:
    .. [aihwkit] IBM aihwkit 1.1.0: ``PCMLikeNoiseModel`` (lines in ``ln(g/g_max)``), ``HermesNoiseModel`` (a
       line below a split, a polynomial above), ``CustomDriftPCMLikeNoiseModel`` (a table).
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Relative:
    """Conductances relative to g_max, floored at *smallest*, any shape; their logarithm is taken once."""

    def __init__(self, g_uS: NDArray[np.floating], g_max_uS: float, smallest: float) -> None:
        kind = g_uS.dtype.type
        self.x: NDArray[np.floating] = np.maximum(g_uS * kind(1 / g_max_uS), kind(smallest))

    @cached_property
    def log(self) -> NDArray[np.floating]:
        """``ln(g/g_max)``."""
        return np.asarray(np.log(self.x))


class Curve(Protocol):
    """A parameter as a function of the relative conductance."""

    def at(self, g: Relative) -> NDArray[np.floating]:
        """Return the parameter at each conductance, same shape and dtype."""

    def lowest(self) -> float:
        """Return a lower bound of the parameter between no conductance and g_max."""


class LogLine(NamedTuple):
    """``clip(a_ln ln(g/g_max) + b, min, max)``."""

    a_ln: float
    b: float
    min: float
    max: float

    def at(self, g: Relative) -> NDArray[np.floating]:
        """Return the line at each conductance, same shape and dtype."""
        log_g = g.log
        kind = log_g.dtype.type
        line = kind(self.a_ln) * log_g
        line += kind(self.b)
        return np.asarray(np.clip(line, kind(self.min), kind(self.max), out=line))

    def lowest(self) -> float:
        """Return its lower end."""
        return self.min


class Polynomial(NamedTuple):
    """``sum_i coefficients[i] (g/g_max)**i``."""

    coefficients: tuple[float, ...]

    def at(self, g: Relative) -> NDArray[np.floating]:
        """Return the polynomial at each conductance, same shape and dtype."""
        return horner(self.coefficients, g.x)

    def lowest(self) -> float:
        """Return its smallest value on a fine grid."""
        return float(self.at(_GRID).min())


class Table(NamedTuple):
    """Values at rising relative conductances, linear in between, constant outside."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def at(self, g: Relative) -> NDArray[np.floating]:
        """Return the interpolated value at each conductance, same shape and dtype."""
        return np.asarray(np.interp(g.x, self.x, self.y), g.x.dtype)

    def lowest(self) -> float:
        """Return its smallest entry; NaN where the table is no function, so that no check passes."""
        sound = len(self.x) == len(self.y) > 0 and all(a < b for a, b in zip(self.x, self.x[1:], strict=False))
        return min(self.y) if sound else float("nan")


class Branches(NamedTuple):
    """`below` for relative conductances under `split`, `above` from there on."""

    split: float
    below: Curve
    above: Curve

    def at(self, g: Relative) -> NDArray[np.floating]:
        """Return the branch's value at each conductance, same shape and dtype."""
        return np.where(g.x < self.split, self.below.at(g), self.above.at(g))

    def lowest(self) -> float:
        """Return the smallest value on a fine grid."""
        return float(self.at(_GRID).min())


def horner(coefficients: Sequence[float], x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return ``sum_i coefficients[i] x**i``, in x's dtype and shape."""
    kind = x.dtype.type
    if len(coefficients) == 1:
        return np.full_like(x, kind(coefficients[0]))
    total = kind(coefficients[-1]) * x
    for coefficient in reversed(coefficients[1:-1]):
        total += kind(coefficient)
        total *= x
    total += kind(coefficients[0])
    return np.asarray(total)


_GRID = Relative(np.concatenate([np.geomspace(1e-7, 1, 2000), np.linspace(1e-7, 1, 2000)]), 1.0, 1e-7)
