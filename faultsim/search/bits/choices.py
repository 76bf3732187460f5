"""What the cells of a tensor can be made to hold: `Choices`, and `WordChoices` for all that store bits.

A tensor's element has some *cells*; an *option* puts something else into one of them. Options of different cells go
together, those of one cell exclude each other. The kinds of options live beside.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Edit, Stored, Xor
from faultsim.formats import Values, Words

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Taken = Mapping[int, tuple[int, ...]]
"""Options taken, by flat element, at most one of each cell."""


class Pick(NamedTuple):
    """One option of one element: the name of its tensor, its flat index, the number of the option."""

    site: str
    element: int
    option: int


class Table(NamedTuple):
    """What each option does to some elements, arrays of shape (elements, options), but `held`.

    Attributes:
        held: The numbers as they are with what has been taken, shape (elements,), in the tensor's units.
        values: The numbers that they become, in the tensor's units; not finite where a float turns so.
        able: Whether the option changes what the cell holds.
        to_one: For cells of one bit whether the bit becomes 1.
    """

    held: Floats
    values: Floats
    able: Bools
    to_one: Bools


class Choices(ABC):
    """The options of one stored tensor.

    Attributes:
        stored: The tensor.
        cell_of: Cell of each option, from 0 on within the element, shape (options,).
        low_bit: Lowest stored bit of each option's cell, shape (options,); it says where the cell lies.
        one_bit: Whether every cell is one bit, so that it has a direction.
    """

    stored: Stored
    cell_of: Ints
    low_bit: Ints
    one_bit: bool

    @property
    def options(self) -> int:
        """Options of each element."""
        return int(self.cell_of.size)

    @property
    def elements(self) -> int:
        """Elements of the tensor."""
        return self.stored.site.elements

    @abstractmethod
    def table(self, elements: Ints, taken: Taken) -> Table:
        """Return what each option does to the flat *elements*, on top of what has been *taken*.

        An option of a cell that has one taken stands in for it.
        """

    @abstractmethod
    def edit(self, taken: Taken) -> Edit:
        """Return the edit that puts into effect what has been taken."""


class WordChoices(Choices):
    """Options on the stored words of a tensor: each puts a pattern into a cell of some adjacent bits."""

    def __init__(self, stored: Stored, cells: list[int], widths: list[int], lows: list[int]) -> None:
        """Take down for each option its cell, and that cell's number of bits and lowest bit."""
        self.stored = stored
        self.cell_of = np.array(cells, dtype=np.int64)
        self.low_bit = np.array(lows, dtype=np.int64)
        self.one_bit = all(width == 1 for width in widths)
        self.masks: Words = np.array([((1 << w) - 1) << low for w, low in zip(widths, lows, strict=True)], np.uint64)

    @abstractmethod
    def patterns(self, words: Words) -> Words:
        """Return what each option's cell holds instead, in place in the word: shape (elements, options).

        A pattern equal to what the cell holds says that the option is not there.
        """

    def table(self, elements: Ints, taken: Taken) -> Table:
        """Return what each option does, by decoding every word that it makes."""
        clean, put = self._words(elements)
        words = clean.copy()
        for row in np.flatnonzero(np.isin(elements, np.fromiter(taken, np.int64, len(taken)))) if taken else ():
            words[row] = self._with(clean[row], put[row], taken[int(elements[row])])
        after = (words[:, None] & ~self.masks) | (put & self.masks)
        fmt = self.stored.format.at(elements, self.stored.values.shape)
        values = np.empty(after.shape)
        with np.errstate(invalid="ignore"):  # a flipped exponent can make a signalling NaN
            for option in range(self.options):
                values[:, option] = fmt.decode(after[:, option]).astype(np.float64)
            held = fmt.decode(words).astype(np.float64)
        able = (put & self.masks) != (clean[:, None] & self.masks)
        if taken:
            able &= after != words[:, None]
        return Table(held, values, able, (put & self.masks) != 0)

    def edit(self, taken: Taken) -> Edit:
        """Return the flipped bits of what has been taken."""
        indices, before, after = self.words(taken)
        return Xor(indices=indices, masks=before ^ after)

    def words(self, taken: Taken) -> tuple[Ints, Words, Words]:
        """Return the flat elements of *taken*, ascending, their clean words and those that they become."""
        indices = np.array(sorted(taken), dtype=np.int64)
        clean, put = self._words(indices)
        after = clean.copy()
        for row, element in enumerate(indices.tolist()):
            after[row] = self._with(clean[row], put[row], taken[element])
        return indices, clean, after

    def _words(self, elements: Ints) -> tuple[Words, Words]:
        flat: Values = self.stored.values.reshape(-1)[elements]
        words = self.stored.format.at(elements, self.stored.values.shape).encode(flat)
        return words, self.patterns(words)

    def _with(self, word: Any, put: Words, options: tuple[int, ...]) -> Any:
        for option in options:
            word = (word & ~self.masks[option]) | (put[option] & self.masks[option])
        return word
