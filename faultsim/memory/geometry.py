"""How the cells of a memory lie: banks, rows, columns, words, tiles, pages. No tensor and no code lives here.

References:
    .. [Ibe2010] E. Ibe et al. Impact of scaling on neutron-induced soft error in SRAMs from a 250 nm to a 22 nm
       design rule. IEEE Transactions on Electron Devices 57(7):1527-1538, 2010: one particle upsets cells that
       are physical neighbours, along a row or a column; interleaving spreads them over words.
"""

import operator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.errors import OptionError

Ints = NDArray[np.int64]


class Place(NamedTuple):
    """Where cells lie: three arrays of one shape. A row is a word line, a column a bit line of the bank."""

    bank: Ints
    row: Ints
    column: Ints


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The shape of a memory that is as large as it must be: equal banks of `rows` x `columns` cells.

    Words fill a row from the left, rows fill a bank, banks follow one another; a *logical* cell number is ``word *
    word_bits + bit in word``. With interleaving the words of a row stand in groups of `interleave`, and bit b of
    the group's word i lies in column ``b * interleave + i`` of the group: cells side by side then belong to
    different words, which is how one particle becomes many single-bit errors ([Ibe2010]_).

    Check bits have no columns here: they are a tensor of their own (see `faultsim.memory.check_store`), as on a
    ninth chip of a memory module.

    Attributes:
        word_bits: Data bits of a word, 1 to 4096.
        rows: Word lines of a bank, at least 1.
        row_words: Words side by side in a row, at least 1.
        interleave: Words whose bits alternate along the row; divides `row_words`. 1: a word's bits are adjacent.
        page_bits: Cells of a page: that many consecutive logical cells.
        tile_rows: Rows of a tile; ``None`` for all of the bank.
        tile_columns: Columns of a tile; ``None`` for all of the bank.

    Raises:
        OptionError: If a number is out of range or `interleave` does not divide `row_words`.

    Examples:
        >>> g = Geometry(word_bits=4, row_words=2, interleave=2)
        >>> g.place(np.arange(8)).column.tolist()  # two words of four bits, alternating
        [0, 2, 4, 6, 1, 3, 5, 7]
    """

    word_bits: int = 64
    rows: int = 512
    row_words: int = 1
    interleave: int = 1
    page_bits: int = 32768
    tile_rows: int | None = None
    tile_columns: int | None = None

    def __post_init__(self) -> None:
        for name in ("word_bits", "rows", "row_words", "interleave", "page_bits", "tile_rows", "tile_columns"):
            value = getattr(self, name)
            top = {"word_bits": 4096, "tile_rows": self.rows, "tile_columns": self.columns}.get(name, 1 << 40)
            if value is None and name.startswith("tile"):
                continue
            try:
                whole = operator.index(value)
            except TypeError:
                raise OptionError(f"Geometry.{name} must be a whole number, got {value!r}") from None
            if not 1 <= whole <= top:
                raise OptionError(f"Geometry.{name} must be between 1 and {top}, got {value}")
        if self.row_words % self.interleave:
            raise OptionError(
                f"Geometry.interleave must divide row_words, got {self.interleave} words of a row of {self.row_words};"
                " give a row of whole groups"
            )

    @property
    def columns(self) -> int:
        """Cells of a row."""
        return self.row_words * self.word_bits

    @property
    def bank_words(self) -> int:
        """Words of a bank."""
        return self.rows * self.row_words

    @property
    def bank_bits(self) -> int:
        """Cells of a bank."""
        return self.rows * self.columns

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile; tiles at the end of a bank may be smaller."""
        return self.tile_rows or self.rows, self.tile_columns or self.columns

    @property
    def bank_tiles(self) -> tuple[int, int]:
        """Tiles of a bank, down its rows and along its columns. Tile numbers count along the columns first."""
        rows, columns = self.tile_shape
        return -(-self.rows // rows), -(-self.columns // columns)

    def place(self, cells: ArrayLike) -> Place:
        """Return where the logical *cells* (any shape, at least 0) lie; exact, the inverse of `cells_at`."""
        word, bit = np.divmod(np.asarray(cells, dtype=np.int64), self.word_bits)
        line, slot = np.divmod(word, self.row_words)
        bank, row = np.divmod(line, self.rows)
        group, lane = np.divmod(slot, self.interleave)
        return Place(bank, row, (group * self.word_bits + bit) * self.interleave + lane)

    def cells_at(self, bank: ArrayLike, row: ArrayLike, column: ArrayLike) -> Ints:
        """Return the logical cells at physical places, broadcast together; -1 for a place outside the banks."""
        b, r, c = np.broadcast_arrays(*(np.asarray(part, dtype=np.int64) for part in (bank, row, column)))
        inside = (b >= 0) & (r >= 0) & (r < self.rows) & (c >= 0) & (c < self.columns)
        rest, lane = np.divmod(c, self.interleave)
        group, bit = np.divmod(rest, self.word_bits)
        word = (b * self.rows + r) * self.row_words + group * self.interleave + lane
        return np.where(inside, word * self.word_bits + bit, -1)
