"""The parity-check matrix of each code, and which sizes of it exist. What a decoder does with it is elsewhere.

A matrix is an array of its columns, data bits first and check bits behind, each column the uint64 mask of the
syndrome bits that its bit enters; check bit j has the column ``1 << j``, so the code is systematic.

References:
    .. [Hamming1950] R. W. Hamming. Error detecting and error correcting codes. BSTJ 29:147-160, 1950.
    .. [Hsiao1970] M. Y. Hsiao. A class of optimal minimum odd-weight-column SEC-DED codes. IBM Journal of Research
       and Development 14(4):395-401, 1970.
    .. [BoseRayChaudhuri1960] R. C. Bose, D. K. Ray-Chaudhuri. On a class of error correcting binary group codes.
       Information and Control 3:68-79, 1960.
    .. [Kaneda1982] S. Kaneda, E. Fujiwara. Single byte error correcting - double byte error detecting codes for
       memory systems. IEEE Transactions on Computers C-31(7):596-602, 1982.
    .. [ReedSolomon1960] I. S. Reed, G. Solomon. Polynomial codes over certain finite fields. Journal of SIAM
       8(2):300-304, 1960.
    .. [MacWilliamsSloane1977] F. J. MacWilliams, N. J. A. Sloane. The Theory of Error-Correcting Codes, 1977,
       on arcs and caps: points of a projective space of which no three are dependent.
"""

import functools
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.memory.galois import field, product, remainders

Scheme = Literal["none", "parity", "sec", "secded", "dec", "chipkill", "reed_solomon"]
SCHEMES = ("none", "parity", "sec", "secded", "dec", "chipkill", "reed_solomon")
Masks = NDArray[np.uint64]
MAX_DATA_BITS = 512


def check_sizes(scheme: Scheme, data_bits: int, symbol_bits: int) -> list[int]:
    """Return every number of check bits with which the code exists, ascending; the first is the usual one.

    - parity: 1 to 64, at most one a data bit.
    - sec: ``2**r >= data + r + 1``, the Hamming bound ([Hamming1950]_), to 16.
    - secded: ``2**(r-1) >= data + r`` ([Hsiao1970]_), to 16.
    - dec: ``2 m`` with ``data + 2 m <= 2**m - 1`` ([BoseRayChaudhuri1960]_), or one more for an overall parity
      that detects three errors; m to 11.
    - chipkill: three symbols up to ``2**symbol_bits - 1`` data symbols, or four.
    - reed_solomon: two symbols or more to 64 bits, ``2**symbol_bits - 1`` symbols in all.
    """
    if scheme == "parity":
        return list(range(1, min(data_bits, 64) + 1))
    if scheme == "sec":
        return [r for r in range(2, 17) if 2**r >= data_bits + r + 1]
    if scheme == "secded":
        return [r for r in range(3, 17) if 2 ** (r - 1) >= data_bits + r]
    if scheme == "dec":
        return [2 * m + more for m in range(3, 12) if data_bits + 2 * m <= 2**m - 1 for more in (0, 1)]
    symbols = -(-data_bits // symbol_bits)
    if scheme == "chipkill":
        return [r * symbol_bits for r in (3, 4) if symbols < 2 ** (symbol_bits * (r - 2))]
    if scheme == "reed_solomon":
        return [r * symbol_bits for r in range(2, 64 // symbol_bits + 1) if symbols + r < 2**symbol_bits]
    return [0]


@functools.cache
def columns(scheme: Scheme, data_bits: int, check_bits: int, symbol_bits: int) -> Masks:
    """Return the columns of a parity-check matrix, shape (data_bits + check_bits,), read-only.

    Args:
        scheme: The code.
        data_bits: Data bits of a code word, 1 to 512; whole symbols for chipkill and reed_solomon.
        check_bits: One of `check_sizes`.
        symbol_bits: Bits of a symbol, 4 or 8.

    Raises:
        OptionError: If there is no such code.
    """
    sizes = check_sizes(scheme, data_bits, symbol_bits)
    if check_bits not in sizes:
        raise OptionError(_no_code(scheme, data_bits, check_bits, symbol_bits, sizes))
    if scheme == "parity":  # byte parity and its like: each check bit covers adjacent data bits
        data = [1 << (bit * check_bits // data_bits) for bit in range(data_bits)]
    elif scheme == "sec":  # the numbers that are no power of two, in order, as in the original
        data = [c for c in range(3, 2**check_bits) if c & (c - 1)][:data_bits]
    elif scheme == "secded":
        data = _hsiao(data_bits, check_bits)
    elif scheme == "dec":
        data = _bch(data_bits, check_bits)
    elif scheme == "chipkill":
        data = _byte_correcting(data_bits // symbol_bits, check_bits // symbol_bits, symbol_bits)
    elif scheme == "reed_solomon":
        data = _reed_solomon(data_bits // symbol_bits, check_bits // symbol_bits, symbol_bits)
    else:
        data = [0] * data_bits
    found = np.array(data + [1 << j for j in range(check_bits)], dtype=np.uint64)
    found.flags.writeable = False
    return found


def _no_code(scheme: Scheme, data_bits: int, check_bits: int, symbol_bits: int, sizes: list[int]) -> str:
    """Say which numbers of check bits would do."""
    of = f" with symbols of {symbol_bits} bits" if scheme in ("chipkill", "reed_solomon") else ""
    if not sizes:
        hint = "use symbol_bits 8 and whole bytes" if of and symbol_bits == 4 else "use fewer data bits a code word"
        return f"there is no {scheme} code{of} over {data_bits} data bits; {hint}"
    allowed = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 4 else " or ".join(map(str, sizes))
    if scheme == "dec":
        allowed = f"{', '.join(map(str, sizes[:4]))} and so on to {sizes[-1]}"
    few = "too few" if check_bits < sizes[0] else "not a size of that code"
    return f"{check_bits} check bits are {few} for {scheme}{of} over {data_bits} data bits; give {allowed}"


def _hsiao(data_bits: int, check_bits: int) -> list[int]:
    """Return distinct odd-weight columns: the lightest, and each the one that keeps the rows in balance.

    [Hsiao1970]_ asks for the fewest ones in all and the same number in every row, which leaves many
    matrices; the choice here is greedy, ties to the smallest mask. All have distance 4; the share of triple
    errors that miscorrect differs a little from one to the next.
    """
    chosen: list[int] = []
    load = np.zeros(check_bits, dtype=np.int64)
    for weight in range(3, check_bits + 1, 2):
        rows = np.array(list(combinations(range(check_bits), weight)), dtype=np.int64)
        masks = np.sum(np.int64(1) << rows, axis=1)
        order = np.argsort(masks, kind="stable")
        rows, masks = rows[order], masks[order]
        free = np.ones(len(masks), dtype=np.bool_)
        while len(chosen) < data_bits and np.any(free):
            # the sum of squared row weights grows least where the touched rows are lightest
            best = int(np.argmin(np.where(free, load[rows].sum(axis=1), np.iinfo(np.int64).max)))
            free[best] = False
            load[rows[best]] += 1
            chosen.append(int(masks[best]))
    return chosen


def _bch(data_bits: int, check_bits: int) -> list[int]:
    """Return the columns of a shortened double-error-correcting BCH code: ``x**i mod g(x)``, i from r on.

    The generator has the roots alpha and alpha^3 ([BoseRayChaudhuri1960]_), and the root 1 as well where
    *check_bits* is odd: the code words then have even weight, and the distance is 6.
    """
    over = field(check_bits // 2)
    generator = product(over.minimal(1), over.minimal(3))
    if check_bits % 2:
        generator = product(generator, 0b11)
    return remainders(generator, check_bits, data_bits)


def _byte_correcting(data_symbols: int, check_symbols: int, symbol_bits: int) -> list[int]:
    """Return the columns of a code that corrects any one symbol and detects any two (distance 4 in symbols).

    Any three symbol columns must be independent over GF(q), [Kaneda1982]_: with three check symbols the points
    ``(1, t, t**2)`` of a conic with its nucleus; with four the points ``(1, x, y, x**2 + x y + a y**2)`` of an
    elliptic quadric, whose form has no zero, [MacWilliamsSloane1977]_. The latter is given in the basis of four
    of its own points, which become the check symbols: ``(0,0)``, the point at infinity, ``(1,0)``, ``(0,1)``.
    """
    over = field(symbol_bits)
    size = over.order + 1
    if check_symbols == 3:
        t = np.arange(1, data_symbols + 1, dtype=np.int64)
        parts = np.stack([np.ones_like(t), t, over.times(t, t)], axis=1)
    else:
        elements = np.arange(size, dtype=np.int64)
        a = int(np.setdiff1d(elements, over.times(elements, elements) ^ elements)[0])  # z**2 + z + a has no root
        y, x = np.divmod(np.arange(data_symbols + 2 + size, dtype=np.int64), size)
        data = ~((x <= 1) & (y == 0)) & ~((x == 0) & (y == 1))
        x, y = x[data][:data_symbols], y[data][:data_symbols]
        last = over.times(x, x) ^ over.times(x, y) ^ over.times(a, over.times(y, y))
        parts = np.stack([1 ^ x ^ y, last ^ x ^ over.times(a, y), x, y], axis=1)
    return _bits(parts, symbol_bits)


def _reed_solomon(data_symbols: int, check_symbols: int, symbol_bits: int) -> list[int]:
    """Return the columns of a shortened Reed-Solomon code: ``x**i mod g(x)`` over GF(q), i from r on.

    The generator has the roots ``alpha**0 .. alpha**(r-1)``, [ReedSolomon1960]_ in its cyclic form: distance
    r + 1 in symbols, the largest there is.
    """
    over = field(symbol_bits)
    generator = over.from_roots(list(range(check_symbols)))[:-1]
    rest = generator.copy()  # x**r mod g
    parts = []
    for _ in range(data_symbols):
        parts.append(rest)
        rest = np.concatenate([[0], rest[:-1]]) ^ over.times(rest[-1], generator)
    return _bits(np.array(parts).reshape(-1, check_symbols), symbol_bits)


def _bits(parts: NDArray[np.int64], symbol_bits: int) -> list[int]:
    """Return a column for each bit of each symbol whose check symbols are *parts*, (symbols, check symbols)."""
    over = field(symbol_bits)
    shifts = (symbol_bits * np.arange(parts.shape[1])).astype(np.uint64)
    each = over.times(parts[:, None, :], (1 << np.arange(symbol_bits))[None, :, None]).astype(np.uint64)
    packed: NDArray[np.uint64] = np.bitwise_or.reduce(each << shifts, axis=2).reshape(-1)
    return [int(mask) for mask in packed]
