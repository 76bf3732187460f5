"""Exact counts over the error patterns of a binary code: how many are seen, how many are not. Rates are elsewhere.

References:
    .. [MacWilliamsSloane1977] F. J. MacWilliams, N. J. A. Sloane. The Theory of Error-Correcting Codes, 1977: ch. 5
       §2 theorem 1 (the weights of a code from those of its dual) and §7 (Krawtchouk polynomials).
"""

import functools
from math import comb
from typing import NamedTuple

import numpy as np

from faultsim.memory.columns import Scheme, columns
from faultsim.memory.geometry import Ints

RADIUS = {"parity": 0, "sec": 1, "secded": 1, "dec": 2}
"""Bits that the binary codes correct: every pattern of so many or fewer, and nothing else."""


class Patterns(NamedTuple):
    """Exact counts, each a tuple over the number of wrong bits in a code word, from 0 to all of them.

    Attributes:
        silent: Patterns that pass without an alarm and leave wrong data.
        silent_wrong: Wrong data bits in what these leave, added up.
        detected: Patterns that raise an alarm.
        detected_wrong: Wrong data bits of these as they are, added up.
    """

    silent: tuple[int, ...]
    silent_wrong: tuple[int, ...]
    detected: tuple[int, ...]
    detected_wrong: tuple[int, ...]


class Weights(NamedTuple):
    """Of the code words of each weight, from 0 to all bits: how many there are, and data bits in all of them."""

    words: tuple[int, ...]
    data: tuple[int, ...]


@functools.cache
def patterns(scheme: Scheme, data_bits: int, check_bits: int, symbol_bits: int) -> Patterns:
    """Return the counts of a bounded-distance binary code, the schemes of `RADIUS`, without enumerating patterns.

    A pattern passes without an alarm exactly where it is a code word c with up to t bits flipped, and the
    decoder then leaves c. With v flips of which o lie in c of weight w, the pattern has ``w + v - 2 o`` wrong
    bits, in ``C(w, o) C(n - w, v - o)`` ways. A systematic code's nonzero words all touch the data. So the
    numbers of code words by weight, and of data bits in them, give all four counts.
    """
    length, radius = data_bits + check_bits, RADIUS[scheme]
    words, inside = word_weights(scheme, data_bits, check_bits, symbol_bits)
    silent, silent_wrong = [0] * (length + 1), [0] * (length + 1)
    quiet, quiet_wrong = [0] * (length + 1), [0] * (length + 1)
    for w in range(length + 1):
        if not words[w]:
            continue
        outside = data_bits * words[w] - inside[w]
        for v in range(radius + 1):
            for o in range(min(v, w) + 1):
                k = w + v - 2 * o
                if v - o > length - w:
                    continue
                ways = comb(w, o) * comb(length - w, v - o)
                quiet[k] += words[w] * ways
                quiet_wrong[k] += inside[w] * _choose(w - 1, o) * comb(length - w, v - o)
                quiet_wrong[k] += outside * comb(w, o) * _choose(length - w - 1, v - o - 1)
                if w:
                    silent[k] += words[w] * ways
                    silent_wrong[k] += inside[w] * ways
    every = [comb(length, k) for k in range(length + 1)]
    data = [data_bits * _choose(length - 1, k - 1) for k in range(length + 1)]
    return Patterns(
        tuple(silent),
        tuple(silent_wrong),
        tuple(a - b for a, b in zip(every, quiet, strict=True)),
        tuple(a - b for a, b in zip(data, quiet_wrong, strict=True)),
    )


@functools.cache
def word_weights(scheme: Scheme, data_bits: int, check_bits: int, symbol_bits: int) -> Weights:
    """Return the number of code words of each weight, and the data bits in all of them together.

    The dual code has only ``2**check_bits`` words, whose weights give both, exactly in whole numbers
    ([MacWilliamsSloane1977]_ ch. 5 theorem 1): a data bit i is in as many words of weight w as there are,
    less those of the code without column i. Parity over groups is a product of codes, and so are its counts.
    """
    if scheme == "parity":
        return _parity_weights(np.bincount(np.arange(data_bits) * check_bits // data_bits).tolist())
    known = columns(scheme, data_bits, check_bits, symbol_bits)
    length = known.size
    whole = _dual_weights(known.astype(np.int64), check_bits)
    data = _dual_weights(known[:data_bits].astype(np.int64), check_bits)
    times = np.bincount(whole, minlength=length + 1)
    ones = np.bincount(whole, weights=data, minlength=length + 1)
    full, short = [0] * (length + 1), [0] * (length + 1)
    count = {w: (int(times[w]), round(ones[w])) for w in range(length + 1) if times[w]}
    for weight, row in _krawtchouk(length, sorted(count)).items():
        for w, value in enumerate(row):
            full[w] += count[weight][0] * value
    removed: dict[int, int] = {}
    for weight, (number, in_data) in count.items():  # a column in the dual word leaves it one lighter
        removed[weight] = removed.get(weight, 0) + data_bits * number - in_data
        if in_data:
            removed[weight - 1] = removed.get(weight - 1, 0) + in_data
    needed = {weight: number for weight, number in removed.items() if number}
    for weight, row in _krawtchouk(length - 1, sorted(needed)).items():
        for w, value in enumerate(row):
            short[w] += needed[weight] * value
    words = [value >> check_bits for value in full]
    inside = [data_bits * word - (value >> check_bits) for word, value in zip(words, short, strict=True)]
    return Weights(tuple(words), tuple(inside))


def _dual_weights(masks: Ints, check_bits: int) -> Ints:
    """Return the weight of ``u . columns`` for every u of *check_bits* bits, by a fast Walsh-Hadamard transform."""
    sums = np.bincount(masks, minlength=1 << check_bits).astype(np.int64)
    for bit in range(check_bits):
        pairs = sums.reshape(-1, 2, 1 << bit)
        sums = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1)
    return (masks.size - sums) // 2


def _krawtchouk(length: int, weights: list[int]) -> dict[int, list[int]]:
    """Return the coefficients of ``(1 - x)**j (1 + x)**(length - j)`` for each j in *weights*, ascending."""
    row = [comb(length, w) for w in range(length + 1)]
    found, done = {}, 0
    for j in weights:
        for _ in range(j - done):
            quotient, carry = [], 0
            for value in row:  # divide by 1 + x, multiply by 1 - x
                quotient.append(value - carry)
                carry = value - carry
            row = [a - b for a, b in zip(quotient, [0, *quotient[:-1]], strict=True)]
        found[j], done = row, j
    return found


def _parity_weights(groups: list[int]) -> Weights:
    """Return the same for groups of so many data bits with one parity bit each: all words even in every group."""
    words, inside = [1], [0]
    for size in groups:
        even = [comb(size + 1, w) if w % 2 == 0 else 0 for w in range(size + 2)]
        mine = [size * _choose(size, w - 1) if w % 2 == 0 else 0 for w in range(size + 2)]
        inside = [a + b for a, b in zip(_times(inside, even), _times(words, mine), strict=True)]
        words = _times(words, even)
    return Weights(tuple(words), tuple(inside))


def _times(a: list[int], b: list[int]) -> list[int]:
    """Return the product of two polynomials."""
    total = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(b):
        if x:
            for j, y in enumerate(a):
                total[i + j] += x * y
    return total


def _choose(n: int, k: int) -> int:
    """Return C(n, k), 0 outside its triangle."""
    return comb(n, k) if n >= 0 and k >= 0 else 0
