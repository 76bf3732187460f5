"""Stuck cells: `StuckWords` for what is stored as bits or levels, `StuckDevices` for conductances."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from faultsim.corruption import Add, Edit, Stored, Stuck
from faultsim.errors import OptionError
from faultsim.formats import ConductanceMapping, Words
from faultsim.search.bits.choices import Choices, Ints, Table, Taken, WordChoices
from faultsim.search.bits.levels import CellCode, cell_widths

End = Literal["low", "high", "either"]


class StuckWords(WordChoices):
    """Each cell can be stuck at its lowest or its highest level, whatever is written.

    A cell that holds the level already would not change, and is no option.

    Args of the constructor:
        stored: The tensor.
        at: ``"low"``, ``"high"`` or ``"either"``.
        bits_per_cell: Bits of a cell, 1 to 8.
        cell_code: Which pattern the highest level has: all ones (``binary``), or the top bit alone (``gray``).

    Raises:
        OptionError: If an argument is out of range.
        DeviceError: If the tensor is not stored as bits.
    """

    def __init__(
        self, stored: Stored, at: End = "either", *, bits_per_cell: int = 1, cell_code: CellCode = "binary"
    ) -> None:
        widths = cell_widths(stored, bits_per_cell)
        if cell_code not in ("binary", "gray"):
            raise OptionError(f"cell_code must be binary or gray, got {cell_code!r}")
        ends = _ends(at)
        cells = [cell for cell in range(len(widths)) for _ in ends]
        lows = [cell * bits_per_cell for cell in cells]
        super().__init__(stored, cells, [widths[cell] for cell in cells], lows)
        top = [(1 << (widths[c] - 1)) if cell_code == "gray" else (1 << widths[c]) - 1 for c in cells]
        high = [end == "high" for _ in widths for end in ends]
        self._put: Words = np.array(
            [t << low if h else 0 for t, low, h in zip(top, lows, high, strict=True)], np.uint64
        )

    def patterns(self, words: Words) -> Words:
        """Return the pattern of each end."""
        return np.broadcast_to(self._put, (words.size, self.options))

    def edit(self, taken: Taken) -> Edit:
        """Return the forced cells."""
        indices = np.array(sorted(taken), dtype=np.int64)
        chosen = [list(taken[element]) for element in indices.tolist()]
        masks = np.array([np.bitwise_or.reduce(self.masks[one]) for one in chosen], dtype=np.uint64)
        bits = np.array([np.bitwise_or.reduce(self._put[one]) for one in chosen], dtype=np.uint64)
        return Stuck(indices=indices, masks=masks, bits=bits)


class StuckDevices(Choices):
    """Each conductance of a weight can be stuck at the end of its range.

    Devices that weights share (a reference column) are left whole: one of them is no cell of one weight.

    Args of the constructor:
        stored: The tensor, with a `ConductanceMapping` as its format.
        at: ``"low"`` (g_min), ``"high"`` (g_max) or ``"either"``.

    Raises:
        OptionError: If the tensor is not stored as conductances, or all its devices are shared.
    """

    def __init__(self, stored: Stored, at: End = "either") -> None:
        mapping = stored.format
        if not isinstance(mapping, ConductanceMapping):
            raise OptionError(f"{stored.site.name} is stored as {mapping.name}, no conductances; use StuckWords")
        devices = mapping.devices - (mapping.groups(stored.site.shape) is not None)
        if devices < 1:
            raise OptionError(f"every device of {stored.site.name} is shared; stick cells of another mapping")
        ends = _ends(at)
        self.stored = stored
        self.cell_of = np.repeat(np.arange(devices, dtype=np.int64), len(ends))
        self.low_bit = self.cell_of.copy()
        self.one_bit = False
        level = {"low": mapping.g_min_uS, "high": mapping.g_max_uS}
        self._level = np.array([level[end] for end in ends] * devices)
        self._factor = np.asarray(mapping.coefficients, dtype=np.float64)[self.cell_of]
        self._cells = mapping.to_cells(stored.values).reshape(mapping.devices, -1)
        self._step = np.broadcast_to(mapping.step, stored.site.shape).reshape(-1)

    def table(self, elements: Ints, taken: Taken) -> Table:
        """Return what each option does: the weight is linear in the conductances."""
        moves = self._moves(elements)
        total = np.zeros((elements.size, int(self.cell_of.max()) + 1))
        for row in np.flatnonzero(np.isin(elements, np.fromiter(taken, np.int64, len(taken)))) if taken else ():
            for option in taken[int(elements[row])]:
                total[row, self.cell_of[option]] = moves[row, option]
        held = self.stored.values.reshape(-1)[elements].astype(np.float64) + total.sum(axis=1)
        change = moves - total[:, self.cell_of]
        high = np.broadcast_to(self._level == self._level.max(), moves.shape)
        return Table(held, held[:, None] + change, (moves != 0) & (change != 0), high)

    def edit(self, taken: Taken) -> Edit:
        """Return by how much the weights change."""
        indices = np.array(sorted(taken), dtype=np.int64)
        moves = self._moves(indices)
        delta = [moves[row, list(taken[element])].sum() for row, element in enumerate(indices.tolist())]
        return Add(delta=np.array(delta, dtype=np.float64), indices=indices)

    def _moves(self, elements: Ints) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        now = self._cells[self.cell_of][:, elements].T.astype(np.float64)
        moved: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (
            self._factor * (self._level - now) * self._step[elements][:, None]
        )
        return moved


def _ends(at: End) -> Sequence[Literal["low", "high"]]:
    if at == "either":
        return ("low", "high")
    if at not in ("low", "high"):
        raise OptionError(f"cells can be stuck low, high or either, got {at!r}")
    return (at,)
