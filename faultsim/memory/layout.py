"""Which cell of a memory holds which bit of which tensor. No law and no code that corrects lives here."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.corruption import Stored, Stuck, Xor
from faultsim.errors import OptionError
from faultsim.memory.geometry import Geometry, Ints, Place

__all__ = ["CHECKS", "Geometry", "Ints", "MemoryMap", "Owner", "Pattern", "Place", "Runs"]

Pattern = Literal["word_cluster", "row", "column"]
CHECKS = "#ecc"
"""Name of the pseudo tensor of check bits: it lies behind all others, so that it never moves the data."""


class Owner(NamedTuple):
    """What cells hold: position of the tensor in `MemoryMap.names`, flat element, bit of it; -1 for padding."""

    site: Ints
    element: Ints
    bit: Ints


class Runs(NamedTuple):
    """The logical cells of runs, and for each the number of the run that it belongs to, from 0 and ascending."""

    cells: Ints
    events: Ints


class MemoryMap:
    """The tensors of a chip laid into one memory: from elements and bits to cells, and back.

    Tensors lie one after the other in the order of their names, each from a fresh word; elements in row-major
    order, least significant bit first. An element of B bits lies wholly in one word where it fits (``word_bits //
    B`` elements a word, what is left of the word is padding), else it takes whole words of its own. Nothing of
    the size of the memory is ever allocated, save for a region that is asked for as a whole.

    Attributes:
        geometry: How the cells lie.
        names: The tensors in the order in which they lie.
        cells: Physical cells up to the last word in use, padding included.
        words: Words in use; ``data_words`` of them hold tensors other than the check bits ``"#ecc"``.
        data_words: Words in use by the tensors proper: they come first.
        rows_used: Rows with at least one word in use, over all banks.
        banks_used: Banks with at least one word in use.
        data_bits: Stored bits of all tensors: `cells` without the padding.

    Raises:
        OptionError: If two tensors share a name.
        DeviceError: If a tensor is not stored as bits.
    """

    def __init__(self, stored: Sequence[Stored], geometry: Geometry) -> None:
        order = sorted(stored, key=lambda one: (one.site.name == CHECKS, one.site.name))
        self.geometry = geometry
        self.names = tuple(one.site.name for one in order)
        self._index = {name: at for at, name in enumerate(self.names)}
        if len(self._index) < len(order):
            twice = next(a for a, b in zip(self.names, self.names[1:], strict=False) if a == b)
            raise OptionError(f"tensor {twice} is in the memory twice; give every name once")
        width = geometry.word_bits
        self._sizes = np.array([one.values.size for one in order], dtype=np.int64)
        self._bits = np.array([one.format.bits for one in order], dtype=np.int64)
        self._per_block = np.maximum(width // self._bits, 1)
        self._stride = width * -(-self._bits // width)
        used = -(-self._sizes // self._per_block) * self._stride
        self._starts = np.concatenate([[0], np.cumsum(used)])
        self.cells = int(self._starts[-1])
        self.words = self.cells // width
        self.data_words = int(self._starts[self._index.get(CHECKS, -1)]) // width
        self.rows_used = -(-self.words // geometry.row_words)
        self.banks_used = -(-self.rows_used // geometry.rows)
        self.data_bits = int(np.sum(self._sizes * self._bits))

    def cell(self, site_name: str, elements: ArrayLike, bits: ArrayLike) -> Ints:
        """Return the logical cells of *bits* of the flat *elements* of a tensor, broadcast together.

        Raises:
            OptionError: If the tensor is not in this memory, or an element or a bit is out of its range.
        """
        at = self._at(site_name)
        e, b = np.asarray(elements, dtype=np.int64), np.asarray(bits, dtype=np.int64)
        for what, array, top in (("element", e, self._sizes[at]), ("bit", b, self._bits[at])):
            if array.size and not (array.min() >= 0 and array.max() < top):
                raise OptionError(f"tensor {site_name} has {top} {what}s, got number {array.min()} to {array.max()}")
        block, slot = np.divmod(e, self._per_block[at])
        cells: Ints = self._starts[at] + block * self._stride[at] + slot * self._bits[at] + b
        return cells

    def word_of(self, cells: ArrayLike) -> Ints:
        """Return the word of each logical cell."""
        return np.asarray(cells, dtype=np.int64) // self.geometry.word_bits

    def bit_in_word(self, cells: ArrayLike) -> Ints:
        """Return the place of each logical cell in its word, 0 to ``word_bits - 1``."""
        return np.asarray(cells, dtype=np.int64) % self.geometry.word_bits

    def place(self, cells: ArrayLike) -> Place:
        """Return where the logical *cells* lie (`Geometry.place`)."""
        return self.geometry.place(cells)

    def cells_at(self, bank: ArrayLike, row: ArrayLike, column: ArrayLike) -> Ints:
        """Return the logical cells at physical places, broadcast together; -1 outside the words in use."""
        cells = self.geometry.cells_at(bank, row, column)
        return np.where(cells < self.cells, cells, -1)

    def owner(self, cells: ArrayLike) -> Owner:
        """Return what each logical cell (any integer, any shape) holds; all -1 for padding and outside."""
        c = np.asarray(cells, dtype=np.int64)
        inside = (c >= 0) & (c < self.cells)
        if not np.any(inside):
            return Owner(*(np.full(c.shape, -1, dtype=np.int64) for _ in range(3)))
        at = np.searchsorted(self._starts, np.where(inside, c, 0), side="right") - 1
        block, rest = np.divmod(c - self._starts[at], self._stride[at])
        slot, bit = np.divmod(rest, self._bits[at])
        element = block * self._per_block[at] + slot
        held = inside & (slot < self._per_block[at]) & (element < self._sizes[at])
        return Owner(*(np.where(held, part, -1) for part in (at, element, bit)))

    def xor(self, cells: ArrayLike) -> dict[str, Xor]:
        """Return the edits that flip these logical cells, by tensor; hits on padding do nothing.

        A cell that is hit an even number of times keeps its bit. Tensors that stay whole are left out.
        """
        hit = np.asarray(cells, dtype=np.int64).reshape(-1)
        if not _rise(hit):
            hit, times = np.unique(hit, return_counts=True)
            hit = hit[times % 2 == 1]
        return {name: Xor(indices=indices, masks=masks) for name, indices, masks, _ in self._words(hit)}

    def stuck(self, cells: ArrayLike, ones: ArrayLike) -> dict[str, Stuck]:
        """Return the edits that force these logical cells, by tensor; padding does nothing.

        Args:
            cells: Logical cells, 1-D; of a cell that is given twice the first counts.
            ones: What each cell reads as: true for 1, broadcastable to *cells*.
        """
        given = np.asarray(cells, dtype=np.int64).reshape(-1)
        reads = np.broadcast_to(np.asarray(ones, dtype=np.bool_), given.shape)
        hit = given
        if not _rise(given):
            hit, first = np.unique(given, return_index=True)
            reads = reads[first]
        return {
            name: Stuck(indices=indices, masks=masks, bits=bits)
            for name, indices, masks, bits in self._words(hit, reads)
        }

    def word_cells(self, word: ArrayLike) -> Ints:
        """Return the cells of one or more words that hold data, ascending; likewise the regions below."""
        return self._range(word, self.geometry.word_bits, "word")

    def row_cells(self, bank: ArrayLike, row: ArrayLike) -> Ints:
        """Return the cells of one or more rows of banks that hold data, ascending."""
        b, r = np.asarray(bank, dtype=np.int64), _within("row", row, self.geometry.rows)
        return self._range(_within("bank", b) * self.geometry.rows + r, self.geometry.columns, "row")

    def bank_cells(self, bank: ArrayLike) -> Ints:
        """Return the cells of one or more banks that hold data, ascending."""
        return self._range(bank, self.geometry.bank_bits, "bank")

    def page_cells(self, page: ArrayLike) -> Ints:
        """Return the cells of one or more pages that hold data, ascending."""
        return self._range(page, self.geometry.page_bits, "page")

    def column_cells(self, bank: ArrayLike, column: ArrayLike) -> Ints:
        """Return the cells of one or more columns of banks that hold data, ascending."""
        b, c = np.broadcast_arrays(_within("bank", bank), _within("column", column, self.geometry.columns))
        rows = np.arange(min(self.geometry.rows, self.rows_used), dtype=np.int64)
        return self._held(self.cells_at(b[..., None], rows, c[..., None]))

    def tile_cells(self, tile: ArrayLike) -> Ints:
        """Return the cells of one or more tiles that hold data, ascending; tiles count bank by bank."""
        down, along = self.geometry.bank_tiles
        rows, columns = self.geometry.tile_shape
        bank, inside = np.divmod(_within("tile", tile), down * along)
        y, x = (part[..., None, None] for part in np.divmod(inside, along))
        row = y * rows + np.arange(min(rows, self.rows_used), dtype=np.int64)[:, None]
        column = x * columns + np.arange(columns, dtype=np.int64)
        return self._held(self.cells_at(bank[..., None, None], row, column))

    def neighbours(self, start_cells: ArrayLike, sizes: ArrayLike, pattern: Pattern) -> Runs:
        """Return the runs of cells that lie side by side with the cells where events begin.

        - ``"word_cluster"``: adjacent bits of one word. A run that would leave the word is moved back into it,
          and one longer than the word is the word. Draw the first bit from ``word_bits - size + 1`` places to
          have all runs equally likely.
        - ``"row"``: adjacent columns of one row, which cross into other words; cut at the end of the row.
        - ``"column"``: adjacent rows of one column; cut at the end of the bank.

        Cells behind the last word in use are left out; padding is not, as it is hit like any cell.

        Args:
            start_cells: First logical cell of each event, shape (events,).
            sizes: Cells of each event, at least 0, broadcastable to (events,).
            pattern: Along what the cells are neighbours.

        Raises:
            OptionError: If the pattern is unknown.
        """
        begin = np.asarray(start_cells, dtype=np.int64).reshape(-1)
        length = np.broadcast_to(np.asarray(sizes, dtype=np.int64), begin.shape)
        width = self.geometry.word_bits
        if pattern == "word_cluster":
            length = np.minimum(length, width)
            begin = begin - np.maximum(begin % width + length - width, 0)
        elif pattern == "row":
            length = np.minimum(length, self.geometry.columns)
        elif pattern == "column":
            length = np.minimum(length, self.geometry.rows)
        else:
            raise OptionError(f"unknown pattern {pattern!r}; use word_cluster, row or column")
        events = np.repeat(np.arange(begin.size, dtype=np.int64), length)
        step = np.arange(events.size, dtype=np.int64) - np.repeat(np.cumsum(length) - length, length)
        if pattern == "word_cluster":
            cells = begin[events] + step
            cells = np.where(cells < self.cells, cells, -1)
        else:
            bank, row, column = (part[events] for part in self.place(begin))
            along = pattern == "row"
            cells = self.cells_at(bank, row if along else row + step, column + step if along else column)
        return Runs(cells[cells >= 0], events[cells >= 0])

    def _at(self, site_name: str) -> int:
        if site_name not in self._index:
            raise OptionError(f"tensor {site_name} is not in this memory; it holds {', '.join(self.names) or 'none'}")
        return self._index[site_name]

    def _range(self, number: ArrayLike, length: int, what: str) -> Ints:
        """Return the held cells of regions that are *length* consecutive logical cells each."""
        first = _within(what, number) * length
        first = first[first < self.cells]
        return self._held(first[:, None] + np.arange(min(length, self.cells), dtype=np.int64))

    def _held(self, cells: Ints) -> Ints:
        return np.unique(cells[self.owner(cells).site >= 0])

    def _words(
        self, cells: Ints, ones: NDArray[np.bool_] | None = None
    ) -> list[tuple[str, Ints, NDArray[np.uint64], NDArray[np.uint64]]]:
        """Return name, elements, masks and bits read as 1 of each tensor that distinct ascending *cells* hit."""
        owner = self.owner(cells)
        held = owner.site >= 0
        site, element, bit = (part[held] for part in owner)
        single = np.uint64(1) << bit.astype(np.uint64)
        read = single if ones is None else np.where(ones[held], single, np.uint64(0))
        found = []
        for at, mine in runs_of(site):
            indices = element[mine]
            first = np.flatnonzero(np.concatenate([[True], indices[1:] != indices[:-1]]))
            masks = np.bitwise_or.reduceat(single[mine], first)
            found.append((self.names[at], indices[first], masks, np.bitwise_or.reduceat(read[mine], first)))
        return found


def runs_of(site: Ints) -> list[tuple[int, slice]]:
    """Return each number in *site*, which must not fall, and the slice where it stands."""
    if not site.size:
        return []
    edges = [0, *(np.flatnonzero(site[1:] != site[:-1]) + 1).tolist(), site.size]
    return [(int(site[start]), slice(start, stop)) for start, stop in pairwise(edges)]


def _rise(cells: Ints) -> bool:
    """Whether cells are distinct and ascending."""
    return bool(np.all(cells[1:] > cells[:-1]))


def _within(what: str, number: ArrayLike, top: int | None = None) -> Ints:
    """Return region numbers as a 1-D array, checked against 0 and *top*."""
    array = np.atleast_1d(np.asarray(number, dtype=np.int64))
    if array.size and (array.min() < 0 or (top is not None and array.max() >= top)):
        limit = "at least 0" if top is None else f"between 0 and {top - 1}"
        raise OptionError(f"{what} numbers must be {limit}, got {array.min()} to {array.max()}")
    return array
