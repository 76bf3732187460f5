"""What a decoder flips, given a syndrome. Codes are built elsewhere; here is what they are decoded with.

References:
    .. [Massey1969] J. L. Massey. Shift-register synthesis and BCH decoding. IEEE Transactions on Information
       Theory 15(1):122-127, 1969.
    .. [Forney1965] G. D. Forney. On decoding BCH codes. IEEE Transactions on Information Theory 11(4):549-557, 1965.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.memory.columns import Masks, Scheme, columns
from faultsim.memory.galois import Symbols, field


class Repair(NamedTuple):
    """What the decoder does to words with nonzero syndromes.

    Attributes:
        done: Whether the word is one the decoder repairs; where not, it reports an uncorrectable error. (words,)
        rows: Number of the word of each bit that is flipped.
        bits: The place of that bit in its code word, data bits first.
    """

    done: NDArray[np.bool_]
    rows: NDArray[np.int64]
    bits: NDArray[np.int64]


class Table(NamedTuple):
    """The correctable error patterns of a code by their syndromes, which are distinct and ascending.

    `flips` holds the places of the bits of each pattern, -1 where it has fewer.
    """

    syndromes: Masks
    flips: NDArray[np.int64]


def repair(scheme: Scheme, data_bits: int, check_bits: int, symbol_bits: int, syndromes: Masks) -> Repair:
    """Return what the decoder flips for each nonzero syndrome, shape (words,).

    Every scheme decodes to a bounded distance: one bit (sec, secded), two bits (dec), one symbol (chipkill), half
    as many symbols as there are check symbols (reed_solomon), nothing (parity, none). A syndrome of none of
    these patterns is reported; one that a heavier error shares with them makes the decoder flip what is right.
    """
    if scheme == "reed_solomon":
        return _algebraic(data_bits, check_bits, symbol_bits, syndromes)
    known = table(scheme, data_bits, check_bits, symbol_bits)
    if known.syndromes.size == 0:
        none = np.empty(0, dtype=np.int64)
        return Repair(np.zeros(syndromes.shape, dtype=np.bool_), none, none)
    at = np.minimum(np.searchsorted(known.syndromes, syndromes), known.syndromes.size - 1)
    done = known.syndromes[at] == syndromes
    words = np.flatnonzero(done)
    flips = known.flips[at[words]]
    row, piece = np.nonzero(flips >= 0)
    return Repair(done, words[row], flips[row, piece])


@functools.cache
def table(scheme: Scheme, data_bits: int, check_bits: int, symbol_bits: int) -> Table:
    """Return the correctable patterns of a code with a short list of them; empty for parity and none."""
    known = columns(scheme, data_bits, check_bits, symbol_bits)
    places = np.arange(known.size, dtype=np.int64)
    if scheme in ("sec", "secded"):
        syndromes, flips = known, places[:, None]
    elif scheme == "dec":
        a, b = np.triu_indices(known.size, 1)
        syndromes = np.concatenate([known, known[a] ^ known[b]])
        pairs = np.stack([a, b], axis=1).astype(np.int64)
        flips = np.concatenate([np.stack([places, np.full_like(places, -1)], axis=1), pairs])
    elif scheme == "chipkill":
        errors = (np.arange(1, 1 << symbol_bits)[:, None] >> np.arange(symbol_bits)) & 1 == 1
        parts = known.reshape(-1, 1, symbol_bits)
        syndromes = np.bitwise_xor.reduce(np.where(errors, parts, np.uint64(0)), axis=2).reshape(-1)
        flips = np.where(errors, places.reshape(-1, 1, symbol_bits), -1).reshape(-1, symbol_bits)
    else:
        return Table(np.empty(0, dtype=np.uint64), np.empty((0, 1), dtype=np.int64))
    order = np.argsort(syndromes, kind="stable")
    return Table(syndromes[order], flips[order])


def _algebraic(data_bits: int, check_bits: int, symbol_bits: int, syndromes: Masks) -> Repair:
    """Decode Reed-Solomon words: [Massey1969]_ for the locator, a search for its roots, [Forney1965]_'s values.

    A word is repaired where the locator has degree at most half the check symbols and as many distinct roots
    among the places in use; the places cut off by shortening hold no symbol, so a root there is a failure.
    """
    over = field(symbol_bits)
    checks, symbols = check_bits // symbol_bits, (data_bits + check_bits) // symbol_bits
    shifts = (symbol_bits * np.arange(checks)).astype(np.uint64)
    rest = ((syndromes[:, None] >> shifts) & np.uint64(over.order)).astype(np.int64)
    power_sums = over.evaluate(rest, over.power(np.arange(checks)))  # the remainder at the generator's roots
    locator, degree = _locator(power_sums, symbol_bits)
    points = over.power(-np.arange(symbols))
    roots = over.evaluate(locator, points) == 0
    done = (degree <= checks // 2) & (np.count_nonzero(roots, axis=1) == degree) & (syndromes != 0)
    evaluator = np.zeros_like(power_sums)
    for term in range(checks):
        evaluator[:, term:] ^= over.times(locator[:, term, None], power_sums[:, : checks - term])
    derivative = locator[:, 1:].copy()
    derivative[:, 1::2] = 0  # in characteristic 2 even powers have none
    slope = over.evaluate(derivative, points)
    values = over.times(
        over.times(over.power(np.arange(symbols)), over.evaluate(evaluator, points)), over.inverse(slope)
    )
    values = np.where(done[:, None] & roots, values, 0)
    flips = (values[:, :, None] >> np.arange(symbol_bits)) & 1 == 1
    row, symbol, bit = np.nonzero(flips)
    # position i of the polynomial is check symbol i, and data symbol i - checks from there on
    place = np.where(symbol < checks, data_bits + symbol * symbol_bits, (symbol - checks) * symbol_bits) + bit
    return Repair(done, row, place)


def _locator(power_sums: Symbols, symbol_bits: int) -> tuple[Symbols, NDArray[np.int64]]:
    """Return the shortest register of each row of syndromes (words, r), and its length, [Massey1969]_."""
    over = field(symbol_bits)
    words, checks = power_sums.shape
    current = np.zeros((words, checks + 1), dtype=np.int64)
    current[:, 0] = 1
    previous = np.zeros_like(current)  # already times x to the power of its age
    previous[:, 1] = 1
    length = np.zeros(words, dtype=np.int64)
    last = np.ones(words, dtype=np.int64)
    for step in range(checks):
        terms = over.times(current[:, : step + 1], power_sums[:, step::-1])
        discrepancy = np.bitwise_xor.reduce(terms, axis=1)
        grows = (discrepancy != 0) & (2 * length <= step)
        update = current ^ over.times(over.times(discrepancy, over.inverse(last))[:, None], previous)
        older = np.where(grows[:, None], current, previous)
        previous = np.concatenate([np.zeros((words, 1), dtype=np.int64), older[:, :-1]], axis=1)
        length = np.where(grows, step + 1 - length, length)
        last = np.where(grows, discrepancy, last)
        current = update
    return current, length
