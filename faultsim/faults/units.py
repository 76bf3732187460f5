"""Which columns and tiles of a memory hold anything: counted by a few words of each, not by every cell. No law here."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.memory import MemoryMap

Ints = NDArray[np.int64]

_WIDEST = 64
"""Bits of the widest number."""
_CHUNK = 1 << 21
"""Cells that are looked at together."""


def held_units(memory: MemoryMap, tall: int, unit_of: Callable[[Ints], Ints]) -> Ints:
    """Return the numbers of the units that hold stored bits, ascending.

    Within a block of *tall* rows a tensor fills its words alike: which bits of a word hold something is the same for
    every word at one place of a row (and, of numbers wider than a word, at one part of theirs). So the first such words
    of each tensor and block tell all that the others do.

    Args:
        memory: The memory.
        tall: Rows that a unit spans: units of one column of cells do not differ within them, rows counted by bank.
        unit_of: Gives the unit of each logical cell.
    """
    found = [np.empty(0, dtype=np.int64)]
    width = memory.geometry.word_bits
    for words in _telling_words(memory, tall):
        step = max(_CHUNK // width, 1)
        for start in range(0, words.size, step):
            cells = (words[start : start + step, None] * width + np.arange(width)).reshape(-1)
            found.append(np.unique(unit_of(cells[memory.owner(cells).site >= 0])))
    return np.unique(np.concatenate(found))


def _telling_words(memory: MemoryMap, tall: int) -> Iterator[Ints]:
    """Yield for each tensor the first words of each block of rows that it lies in, as many as may differ."""
    shape = memory.geometry
    first = [cell for cell in (_first_cell(memory, name) for name in memory.names) if cell is not None]
    ends = [*(cell // shape.word_bits for cell in first[1:]), memory.words][: len(first)]
    for cell, end in zip(first, ends, strict=True):
        begin = cell // shape.word_bits
        owner = memory.owner(cell + np.arange(_WIDEST))
        bits = int(np.count_nonzero((owner.element == 0) & (owner.site == owner.site[0])))
        period = math.lcm(shape.row_words, -(-bits // shape.word_bits))
        banks = np.arange(begin // shape.bank_words, -(-end // shape.bank_words), dtype=np.int64)
        rows = np.arange(0, shape.rows, tall, dtype=np.int64)
        edges = (banks[:, None] * shape.rows + rows).reshape(-1) * shape.row_words
        low = np.maximum(edges, begin)
        high = np.minimum(np.append(edges[1:], (banks[-1] + 1) * shape.bank_words), end)
        sizes = np.clip(high - low, 0, period)
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield np.repeat(low, sizes) + inside


def _first_cell(memory: MemoryMap, name: str) -> int | None:
    """Return where a tensor begins, None where it has no elements."""
    try:
        return int(memory.cell(name, 0, 0))
    except OptionError:
        return None
