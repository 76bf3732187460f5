"""Arithmetic in the finite fields GF(2^m) on whole arrays. No code is built here.

References:
    .. [LinCostello2004] S. Lin, D. J. Costello. Error Control Coding, 2nd ed., Pearson 2004: table 2.7 (primitive
       polynomials), §2.5 (minimal polynomials).
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Symbols = NDArray[np.int64]

PRIMITIVE = {
    2: 0b111,
    3: 0b1011,
    4: 0b10011,
    5: 0b100101,
    6: 0b1000011,
    7: 0b10001001,
    8: 0b100011101,
    9: 0b1000010001,
    10: 0b10000001001,
    11: 0b100000000101,
}
"""A primitive polynomial of each degree, bit i the coefficient of x^i, [LinCostello2004]_ table 2.7."""


@dataclass(frozen=True, eq=False)
class Field:
    """GF(2^m): elements are the integers below 2^m, bit i the coefficient of alpha^i; addition is XOR.

    Attributes:
        m: Degree, 2 to 11.
        powers: ``alpha**i`` for i from 0 to twice the group's order, shape (2 (2^m - 1),).
        logs: The exponent of each element, shape (2^m,); that of 0 means nothing.
    """

    m: int
    powers: Symbols
    logs: Symbols

    @property
    def order(self) -> int:
        """Nonzero elements, ``2**m - 1``."""
        return (1 << self.m) - 1

    def times(self, a: ArrayLike, b: ArrayLike) -> Symbols:
        """Return the product, element by element, broadcast."""
        x, y = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
        return np.where((x == 0) | (y == 0), 0, self.powers[self.logs[x] + self.logs[y]])

    def inverse(self, a: ArrayLike) -> Symbols:
        """Return 1 / a, element by element; 0 for 0, which has none."""
        x = np.asarray(a, dtype=np.int64)
        return np.where(x == 0, 0, self.powers[(self.order - self.logs[x]) % self.order])

    def power(self, exponent: ArrayLike) -> Symbols:
        """Return alpha to an integer power of any sign."""
        return self.powers[np.asarray(exponent, dtype=np.int64) % self.order]

    def evaluate(self, polynomial: Symbols, at: Symbols) -> Symbols:
        """Return polynomials at points, by Horner's rule.

        Args:
            polynomial: Coefficients, the constant one first, shape (n, terms).
            at: Points, shape (points,).

        Returns:
            Shape (n, points).
        """
        value = np.zeros((polynomial.shape[0], at.size), dtype=np.int64)
        for term in range(polynomial.shape[1] - 1, -1, -1):
            value = self.times(value, at) ^ polynomial[:, term, None]
        return value

    def from_roots(self, exponents: list[int]) -> Symbols:
        """Return the monic polynomial with roots ``alpha**e``, the constant coefficient first."""
        polynomial = np.ones(1, dtype=np.int64)
        for exponent in exponents:
            shifted = np.concatenate([[0], polynomial])
            polynomial = shifted ^ np.concatenate([self.times(polynomial, self.power(exponent)), [0]])
        return polynomial

    def minimal(self, exponent: int) -> int:
        """Return the minimal polynomial of ``alpha**exponent`` over GF(2), bit i the coefficient of x^i."""
        conjugates, other = [], exponent % self.order
        while other not in conjugates:
            conjugates.append(other)
            other = 2 * other % self.order
        return sum(int(c) << i for i, c in enumerate(self.from_roots(conjugates)))


@functools.cache
def field(m: int) -> Field:
    """Return GF(2^m), m from 2 to 11."""
    order = (1 << m) - 1
    powers = np.empty(2 * order, dtype=np.int64)
    logs = np.zeros(order + 1, dtype=np.int64)
    value = 1
    for exponent in range(order):
        powers[exponent] = powers[exponent + order] = value
        logs[value] = exponent
        value <<= 1
        if value > order:
            value ^= PRIMITIVE[m]
    powers.flags.writeable = logs.flags.writeable = False
    return Field(m, powers, logs)


def remainders(generator: int, first: int, count: int) -> list[int]:
    """Return ``x**first, x**(first + 1), ...`` modulo a polynomial over GF(2), as bit masks."""
    degree = generator.bit_length() - 1
    found, value = [], 1
    for exponent in range(first + count):
        if exponent >= first:
            found.append(value)
        value <<= 1
        if value >> degree:
            value ^= generator
    return found


def product(a: int, b: int) -> int:
    """Return the product of two polynomials over GF(2), as a bit mask."""
    total = 0
    for shift in range(b.bit_length()):
        if b >> shift & 1:
            total ^= a << shift
    return total
