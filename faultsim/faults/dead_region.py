"""The law of whole words, rows, columns, banks or tiles that are dead."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.regions import Regions, region_failures
from faultsim.corruption import Edit, Stored, Stuck
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.base import CHIP, Fault, Generators, register
from faultsim.faults.effects import region_effects
from faultsim.faults.positions import distinct
from faultsim.faults.units import held_units
from faultsim.formats import IntFormat
from faultsim.memory import Geometry, MemoryMap

Ints = NDArray[np.int64]
Unit = Literal["word", "row", "column", "bank", "tile"]


@register
@dataclass(frozen=True, kw_only=True)
class DeadRegion(Fault):
    """Whole units of the memory are dead on a die: every cell of one reads 0, reads 1, or has a value of its own.

    Only units that hold part of the model are drawn; a dead unit elsewhere does no harm, such as a column or a tile of
    a bank that the model leaves empty. A dead cell keeps what it reads for good (`Stuck`): with ``reads="random"`` each
    is drawn once a die.

    `sample` and `budget` take their tensor as lying alone in the memory, from its first cell.

    Attributes:
        unit: What fails as a whole.
        reads: What dead cells read as.
        geometry: How the memory's cells lie.
        p: Probability that a unit is dead, 0 to 1; or ``None``.
        count: Dead units among those that hold the model, at least 0; or ``None``. Exactly one of the two.
        tile_rows: Rows of a tile; ``None`` takes the geometry's.
        tile_columns: Columns of a tile, likewise.

    Raises:
        OptionError: If not exactly one of *p* and *count* is given, or a field is out of range.

    References:
        V. Sridharan, D. Liberty. A study of DRAM failures in the field. SC 2012: words, rows, columns and banks
        that fail as a whole.
    """

    kind: ClassVar[str] = "dead_region"
    unit: Unit
    reads: Literal["zero", "one", "random"] = "zero"
    geometry: Geometry = field(default_factory=Geometry)
    p: float | None = None
    count: int | None = None
    tile_rows: int | None = None
    tile_columns: int | None = None

    def __post_init__(self) -> None:
        if self.unit not in ("word", "row", "column", "bank", "tile"):
            raise OptionError(f"a dead unit is a word, row, column, bank or tile, got {self.unit!r}")
        if self.reads not in ("zero", "one", "random"):
            raise OptionError(f"dead cells read zero, one or random, got {self.reads!r}")
        if (self.p is None) == (self.count is None):
            raise OptionError("a dead region needs exactly one of p and count; give the other as None")
        if self.p is not None:
            check_rate("p", self.p)
        if self.count is not None and (not _whole(self.count) or self.count < 0):
            raise OptionError(f"count must be a whole number of dead units, at least 0, got {self.count!r}")
        if self.unit != "tile" and (self.tile_rows or self.tile_columns):
            raise OptionError("tile_rows and tile_columns are the size of the unit tile; leave them out for others")
        self._geometry()

    def units(self, memory: MemoryMap) -> int:
        """Return the number of units of a memory that hold part of the model."""
        return int(self._used(memory).size)

    def sample(self, stored: Stored, rng: np.random.Generator) -> Stuck:
        """Draw the dead units of a memory that holds this tensor alone."""
        edit = self.sample_chip([stored], lambda _: rng).get(stored.site.name)
        return edit if isinstance(edit, Stuck) else _none()

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw the dead units of the memory that holds all of *stored*; whole tensors are left out.

        Raises:
            DeviceError: If the memory has fewer units in use than `count`.
        """
        memory = MemoryMap(stored, self._geometry())
        rng = generators(CHIP)
        used = self._used(memory)
        total = int(used.size)
        if self.count is not None and self.count > total:
            raise DeviceError(
                f"{self.count} dead {self.unit}s do not fit: the model takes {total}; give a smaller count"
            )
        dead = self.count if self.count is not None else int(rng.binomial(total, self.p or 0.0))
        cells = self._cells(memory, used[distinct(rng, total, dead)])
        ones = rng.integers(2, size=cells.size) if self.reads == "random" else np.array([self.reads == "one"])
        return dict(memory.stuck(cells, ones))

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the dead units of one tensor: `faultsim.budget.regions`.

        Exact for cells that read 0 or 1 in units that share no number (words, rows, banks); columns and tiles may
        each take some bits of one, and what they do is added. For random cells each number is taken as far off as
        its dead bits can bring it. Both are upper bounds.
        """
        memory = MemoryMap([stored], self._geometry())
        used = self._used(memory)
        total = int(used.size)

        def unit_of(cells: Ints) -> Ints:
            return np.searchsorted(used, self._unit_of(memory, cells))

        done = region_effects(stored, memory, unit_of, total, self.reads, p)
        return region_failures(
            mechanism=self.kind,
            scope=stored.site.name,
            regions=Regions(done.touched, done.moved, np.full(total, self.p or 0.0)),
            elements=stored.values.size,
            number=None if self.count is None else min(self.count, total),
            independent=True,
            overlap=self._overlap(stored),
            p=p,
            confidence=confidence,
        )

    def _overlap(self, stored: Stored) -> float:
        """Return the bound on ``(sum a_u)**2 / sum a_u**2`` for the changes a_u that several units make to one element.

        A column holds one bit of an element: ``(sum 2**b)**2 < 3 sum 4**b`` over any set of bits.
        """
        fmt = stored.format
        if self.unit in ("row", "bank") or (self.unit == "word" and fmt.bits <= self.geometry.word_bits):
            return 1.0
        plain = isinstance(fmt, IntFormat) and fmt.encoding != "sign_magnitude"
        return 3.0 if plain and self.unit == "column" else float(fmt.bits)

    def _geometry(self) -> Geometry:
        if self.tile_rows is None and self.tile_columns is None:
            return self.geometry
        return replace(
            self.geometry,
            tile_rows=self.tile_rows if self.tile_rows is not None else self.geometry.tile_rows,
            tile_columns=self.tile_columns if self.tile_columns is not None else self.geometry.tile_columns,
        )

    def _used(self, memory: MemoryMap) -> Ints:
        """Return the numbers of the units that hold part of the model, ascending."""
        if self.unit in ("word", "row", "bank"):  # words fill rows, and rows banks, without a gap
            dense = {"word": memory.words, "row": memory.rows_used, "bank": memory.banks_used}
            return np.arange(dense[self.unit], dtype=np.int64)
        shape = memory.geometry
        tall = shape.rows if self.unit == "column" else shape.tile_shape[0]
        return held_units(memory, tall, lambda cells: self._unit_of(memory, cells))

    def _cells(self, memory: MemoryMap, units: Ints) -> Ints:
        if self.unit == "word":
            return memory.word_cells(units)
        if self.unit == "bank":
            return memory.bank_cells(units)
        if self.unit == "tile":
            return memory.tile_cells(units)
        length = memory.geometry.rows if self.unit == "row" else memory.geometry.columns
        bank, inside = np.divmod(units, length)
        return memory.row_cells(bank, inside) if self.unit == "row" else memory.column_cells(bank, inside)

    def _unit_of(self, memory: MemoryMap, cells: Ints) -> Ints:
        """Return the number of the unit that each cell lies in, as `_cells` counts them."""
        if self.unit == "word":
            return memory.word_of(cells)
        shape = memory.geometry
        bank, row, column = memory.place(cells)
        if self.unit == "bank":
            return bank
        if self.unit == "row":
            return bank * shape.rows + row
        if self.unit == "column":
            return bank * shape.columns + column
        (down, along), (tall, wide) = shape.bank_tiles, shape.tile_shape
        return bank * down * along + row // tall * along + column // wide


def _whole(number: object) -> bool:
    try:
        operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _none() -> Stuck:
    nothing = np.empty(0, dtype=np.uint64)
    return Stuck(indices=np.empty(0, dtype=np.int64), masks=nothing, bits=nothing)
