"""Code words of a tensor, and what is left wrong in them as draws: sums and maxima over them. No law lives here."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim import rng
from faultsim.budget import compound_quantile
from faultsim.budget.mixture import mixture_quantile
from faultsim.corruption import Stored
from faultsim.memory import Code
from faultsim.memory.residual import fewest_errors

_TABLE = 1 << 22
"""Numbers in a table of words by bits by errors: 32 MiB."""
_RARE = 0.02
"""Share of wrong words below which their number is Poisson: its spread is then wide by a hundredth at most."""

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Words(NamedTuple):
    """Some code words of a tensor, and how its elements lie in them.

    Attributes:
        total: Code words of the whole tensor.
        elements: Flat elements in each word, shape (words, slots).
        held: Their words as stored, the same shape, uint64.
        slot: Slot of each data bit of a code word, shape (data_bits,).
        place: Bit of the element at each data bit, shape (words or 1, data_bits).
        used: Whether the data bit holds a bit of the tensor, shape (words, data_bits).
        written: What it holds, False for padding, the same shape.
    """

    total: int
    elements: Ints
    held: NDArray[np.uint64]
    slot: Ints
    place: Ints
    used: Bits
    written: Bits


class Left(NamedTuple):
    """Drawn words that are wrong behind the decoder.

    Attributes:
        row: Which of the words it is, shape (draws,).
        wrong: Its wrong data bits, shape (draws, data_bits).
        lost: Whether it raised an alarm, and is wrong by what the machine made of that.
        chance: Probability of each draw in a word at random; together that of a wrong word.
    """

    row: Ints
    wrong: Bits
    lost: Bits
    chance: Floats


def words_of(stored: Stored, code: Code, rate: float, confidence: float) -> tuple[Words, int]:
    """Return code words of a tensor, all or as many as a table holds, and the most raw errors of a word that count."""
    width, bits, size = code.data_bits, stored.format.bits, stored.values.size
    slots, parts = max(width // bits, 1), -(-bits // width)
    count = -(-size // slots) * parts
    most = fewest_errors(code) - 1
    while most < code.bits and count * stats.binom.sf(most, code.bits, rate) > 1e-3 * (1 - confidence):
        most += 1
    room = max(_TABLE // ((code.bits + 1) * (most + 1)), 64)
    draw = rng.generator(0, -1, "words behind a code")
    word = np.arange(count) if count <= room else np.sort(draw.choice(count, room, replace=False, shuffle=False))
    cell = np.arange(width)
    slot = cell // bits if parts == 1 else np.zeros_like(cell)
    place = (cell % bits)[None, :] if parts == 1 else (word % parts)[:, None] * width + cell
    elements = (word // parts)[:, None] * slots + np.arange(slots)
    used = (slot < slots) & (place < bits)
    slot, place = np.minimum(slot, slots - 1), np.minimum(place, bits - 1)
    used = used & (elements < size)[:, slot]
    elements = np.minimum(elements, size - 1)
    held = _encode(stored, elements)
    written = used & ((held[:, slot] >> place.astype(np.uint64)) & np.uint64(1)).astype(np.bool_)
    return Words(count, elements, held, slot, place, used, written), most


def masks_of(words: Words, left: Left) -> NDArray[np.uint64]:
    """Return the wrong bits of each element of the drawn words, shape (draws, slots)."""
    masks = np.zeros((left.row.size, words.elements.shape[1]), dtype=np.uint64)
    row, cell = np.nonzero(left.wrong & words.used[left.row])
    place = words.place[left.row[row] if len(words.place) > 1 else 0, cell].astype(np.uint64)
    np.bitwise_or.at(masks, (row, words.slot[cell]), np.uint64(1) << place)
    return masks


def changes_of(stored: Stored, words: Words, left: Left, masks: NDArray[np.uint64]) -> Floats:
    """Return how much each element of the drawn words changes, shape (draws, slots)."""
    held, elements = words.held[left.row], words.elements[left.row]
    fmt = stored.format.at(elements.reshape(-1), stored.values.shape)
    before, after = (fmt.decode(one.reshape(-1)).astype(np.float64) for one in (held, held ^ masks))
    return np.abs(after - before).reshape(masks.shape)


def _encode(stored: Stored, elements: Ints) -> NDArray[np.uint64]:
    flat = elements.reshape(-1)
    fmt = stored.format.at(flat, stored.values.shape)
    return fmt.encode(stored.values.reshape(-1)[flat]).reshape(elements.shape)


def sum_quantile(sizes: NDArray[np.generic], chance: Floats, count: int, confidence: float) -> float:
    """Return the quantile of the sum over *count* words."""
    if chance.sum() <= _RARE:
        return compound_quantile(sizes, count * chance, confidence)
    return mixture_quantile(sizes, chance, [count], confidence)


def tail(heights: Floats, rates: Floats, confidence: float) -> tuple[float, int]:
    """Return the quantile of the largest of Poisson numbers of jumps, and how many of the jumps are higher."""
    order = np.argsort(heights)
    above = np.cumsum(rates[order][::-1])[::-1] - rates[order]
    found = float(heights[order[np.flatnonzero(above <= -math.log(confidence))[0]]])
    top = float(heights[heights <= found * (1 + 1e-6)].max())  # equal but for rounding
    return top, int(np.count_nonzero(heights > top))
