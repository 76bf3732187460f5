"""A float sum without rounding: the same to the last bit, however the numbers are split over batches."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

_LOWEST = 1074  # 2**-1074 is the smallest float64: every finite one is a whole multiple of it
_HALF = 26


@dataclass(frozen=True)
class ExactSum:
    """The exact sum of finite float64 numbers; sums merge by ``+`` in any order.

    Attributes:
        units: The sum in units of 2**-1074.

    Examples:
        >>> (ExactSum.of([1e16, 1.0]) + ExactSum.of([-1e16])).value
        1.0
    """

    units: int = 0

    @classmethod
    def of(cls, values: ArrayLike) -> "ExactSum":
        """Return the sum of *values*, any shape.

        Raises:
            ValueError: If one of them is not finite.
        """
        flat = np.asarray(values, dtype=np.float64).ravel()
        if not np.isfinite(flat).all():
            raise ValueError("a sum of losses was given a value that is not finite; count such samples apart")
        mantissa, exponent = np.frexp(flat)
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        total = 0
        for power in np.unique(exponent):
            chosen = whole[exponent == power]
            high, low = (
                chosen >> _HALF,
                chosen & ((1 << _HALF) - 1),
            )  # halves, so that int64 holds 2**36 of them
            summed = (int(high.sum()) << _HALF) + int(low.sum())
            shift = int(power) - 53 + _LOWEST
            total += summed << shift if shift >= 0 else summed >> -shift  # below: denormals, whose low bits are 0
        return cls(total)

    def __add__(self, other: "ExactSum") -> "ExactSum":
        return ExactSum(self.units + other.units)

    @property
    def value(self) -> float:
        """The sum as the nearest float64, as `math.fsum` gives it; infinite beyond the largest one."""
        try:
            return float(Fraction(self.units, 1 << _LOWEST))
        except OverflowError:
            return math.inf if self.units > 0 else -math.inf


def total(sums: Iterable[ExactSum]) -> ExactSum:
    """Return the sum of sums."""
    return ExactSum(sum(one.units for one in sums))
