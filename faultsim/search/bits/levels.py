"""`Levels`: cells of several bits that are read as another level. Bits and stuck cells are beside.

References:
    .. [Gray1953] F. Gray. Pulse code communication. US patent 2632058, 1953: neighbouring levels differ in one bit.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored
from faultsim.errors import OptionError
from faultsim.formats import Words
from faultsim.search.bits.choices import WordChoices

CellCode = Literal["binary", "gray"]


class Levels(WordChoices):
    """Each multi-level cell can be read as the level below or above, or as any other.

    A word lies in cells of *bits_per_cell* bits, least significant bits first, as `faults.LevelConfusion` has it; a
    last cell with fewer bits has as many levels as they need.

    Args of the constructor:
        stored: The tensor.
        bits_per_cell: Bits of a cell, 1 to 8.
        cell_code: Which bit pattern a level stands for: its number, or the reflected code [Gray1953]_.
        reach: ``"neighbour"`` for the levels next to it, ``"any"`` for all others.

    Raises:
        OptionError: If an argument is out of range.
        DeviceError: If the tensor is not stored as bits.
    """

    def __init__(
        self,
        stored: Stored,
        bits_per_cell: int = 2,
        *,
        cell_code: CellCode = "binary",
        reach: Literal["neighbour", "any"] = "neighbour",
    ) -> None:
        widths = cell_widths(stored, bits_per_cell)
        if cell_code not in ("binary", "gray"):
            raise OptionError(f"cell_code must be binary or gray, got {cell_code!r}")
        if reach not in ("neighbour", "any"):
            raise OptionError(f"reach must be neighbour or any, got {reach!r}")
        self.steps: list[int] = []  # to other levels: ±1, or how many levels on, in a circle
        cells: list[int] = []
        for cell, width in enumerate(widths):
            steps = [-1, 1] if reach == "neighbour" else list(range(1, 1 << width))
            self.steps += steps[:1] if reach == "neighbour" and width == 1 else steps
            cells += [cell] * (len(self.steps) - len(cells))
        self._circle = reach == "any"
        self._levels = [_to_level(width, cell_code) for width in widths]
        super().__init__(stored, cells, [widths[c] for c in cells], [c * bits_per_cell for c in cells])

    def patterns(self, words: Words) -> Words:
        """Return the pattern of the other level; of a level that is not there the present one."""
        found = np.empty((words.size, self.options), dtype=np.uint64)
        for option, (cell, step) in enumerate(zip(self.cell_of.tolist(), self.steps, strict=True)):
            low, level_of = np.uint64(self.low_bit[option]), self._levels[cell]
            held = (words & self.masks[option]) >> low
            count = level_of.size
            level = level_of[held.astype(np.int64)]
            circle = self._circle or count == 2
            other = (level + step) % count if circle else np.clip(level + step, 0, count - 1)
            found[:, option] = np.argsort(level_of)[other].astype(np.uint64) << low
        return found


def cell_widths(stored: Stored, bits_per_cell: int) -> list[int]:
    """Return the bits of each cell of a word, least significant bits first.

    Raises:
        OptionError: If *bits_per_cell* is out of range.
    """
    if not 1 <= bits_per_cell <= 8:
        raise OptionError(f"bits_per_cell must be between 1 and 8, got {bits_per_cell}")
    bits = stored.format.bits
    return [min(bits_per_cell, bits - low) for low in range(0, bits, bits_per_cell)]


def _to_level(width: int, code: CellCode) -> NDArray[np.int64]:
    """Return the level of each bit pattern."""
    numbers = np.arange(1 << width, dtype=np.int64)
    return numbers if code == "binary" else np.argsort(numbers ^ (numbers >> 1))
