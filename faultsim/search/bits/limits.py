"""Which cells an attacker reaches, and which of them together: `Limits`, over a memory's layout. No search here."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored
from faultsim.errors import OptionError
from faultsim.memory import MemoryMap
from faultsim.search.bits.choices import Bools, Choices, Ints, Pick

Region = Literal["element", "word", "row", "page", "bank"]
_REGIONS = ("element", "word", "row", "page", "bank")


@dataclass(frozen=True, eq=False)
class Flippable:
    """Cells that can flip, each in its own direction or in both: what hammering a die's rows reaches.

    `faults.RowHammer.flippable` and `.eligible` give both arrays for a die.

    Attributes:
        memory: Where the tensors lie.
        cells: Logical cells of the memory that can flip, 1-D, any order.
        to_one: Whether each flips from 0 to 1 and never back (else from 1 to 0 only); ``None`` for both ways.

    Raises:
        OptionError: If the two arrays differ in length, or a cell is given twice.
    """

    memory: MemoryMap
    cells: NDArray[np.int64]
    to_one: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.to_one is not None and self.to_one.shape != self.cells.shape:
            raise OptionError(
                f"{self.cells.size} flippable cells have {self.to_one.size} directions; give one for each"
            )
        order = np.argsort(self.cells, kind="stable")
        if np.any(np.diff(self.cells[order]) == 0):
            raise OptionError("a flippable cell is given twice; give each once")
        object.__setattr__(self, "cells", self.cells[order])
        if self.to_one is not None:
            object.__setattr__(self, "to_one", self.to_one[order])

    def allows(self, cells: Ints, to_one: Bools) -> Bools:
        """Return whether each logical cell can flip to the given value, same shape."""
        if not self.cells.size:
            return np.zeros(cells.shape, dtype=np.bool_)
        at = np.minimum(np.searchsorted(self.cells, cells), self.cells.size - 1)
        found: Bools = self.cells[at] == cells
        return found if self.to_one is None else found & (self.to_one[at] == to_one)


@dataclass(frozen=True, kw_only=True, eq=False)
class Limits:
    """What an attacker cannot do.

    Attributes:
        flippable: The only cells that he reaches; ``None`` for all.
        at_most: Most cells that he can change in one region of a kind, such as ``{"word": 1}``. An *element* is a
            stored number, a *word*, *row*, *page* or *bank* one of the memory's layout.
        one: A kind of region of which he reaches one only, such as ``"row"``; ``None`` for all.
        memory: Where the tensors lie; needed for all regions but elements. That of *flippable* by default.

    Raises:
        OptionError: If a region is unknown, a number is below 1, or the memory is missing.
    """

    flippable: Flippable | None = None
    at_most: Mapping[Region, int] = field(default_factory=dict)
    one: Region | None = None
    memory: MemoryMap | None = None

    def __post_init__(self) -> None:
        if self.memory is None and self.flippable is not None:
            object.__setattr__(self, "memory", self.flippable.memory)
        for region in (*self.at_most, *(() if self.one is None else (self.one,))):
            if region not in _REGIONS:
                raise OptionError(f"unknown region {region!r}; use one of {', '.join(_REGIONS)}")
            if self.memory is None and region != "element":
                raise OptionError(f"a limit on a {region} needs the memory's layout; give Limits.memory")
        for region, most in self.at_most.items():
            if most < 1:
                raise OptionError(f"at most {most} cells of a {region} is no attack; give at least 1")

    @property
    def free(self) -> bool:
        """Whether there is no limit at all."""
        return self.flippable is None and not self.at_most and self.one is None

    def mask(self, choices: Choices, elements: Ints, to_one: Bools, state: Iterable[Pick], sites: "Sites") -> Bools:
        """Return which options of *elements* the limits leave, with *state* taken: shape (elements, options).

        An option of a cell that is taken already adds no cell, and is left as far as *state* itself is.
        """
        left = np.ones((elements.size, choices.options), dtype=np.bool_)
        if self.free:
            return left
        name = choices.stored.site.name
        if self.flippable is not None:
            if not choices.one_bit:
                raise OptionError(f"the cells of {name} hold levels, and flippable cells hold bits; choose bit flips")
            left &= self.flippable.allows(self._cells(name, elements, choices.low_bit), to_one)
        taken = list(state)
        for region, most in self.at_most.items():
            count = Counter(self.region(region, sites, pick) for pick in taken)
            full = [number for number, times in count.items() if times >= most]
            if full:
                left &= ~np.isin(self._regions(region, sites, name, elements, choices.low_bit), full)
        if self.one is not None and taken:
            only = self.region(self.one, sites, taken[0])
            left &= self._regions(self.one, sites, name, elements, choices.low_bit) == only
        return left

    def keeps(self, state: Iterable[Pick], sites: "Sites") -> bool:
        """Return whether the picks of *state* go together: the limits on regions alone."""
        taken = list(state)
        for region, most in self.at_most.items():
            count = Counter(self.region(region, sites, pick) for pick in taken)
            if any(times > most for times in count.values()):
                return False
        return self.one is None or len({self.region(self.one, sites, pick) for pick in taken}) < 2

    def region(self, region: Region, sites: "Sites", pick: Pick) -> int:
        """Return the number of the region of one pick."""
        low = sites.choices[pick.site].low_bit[[pick.option]]
        return int(self._regions(region, sites, pick.site, np.array([pick.element]), low)[0, 0])

    def _regions(self, region: Region, sites: "Sites", name: str, elements: Ints, bits: Ints) -> Ints:
        if region == "element":
            return np.broadcast_to((sites.offsets[name] + elements)[:, None], (elements.size, bits.size))
        cells = self._cells(name, elements, bits)
        if self.memory is None:  # checked at construction
            return cells
        geometry = self.memory.geometry
        if region == "word":
            return self.memory.word_of(cells)
        if region == "page":
            return cells // geometry.page_bits
        place = self.memory.place(cells)
        return place.bank if region == "bank" else place.bank * geometry.rows + place.row

    def _cells(self, name: str, elements: Ints, bits: Ints) -> Ints:
        if self.memory is None:
            raise OptionError("limits on cells need the memory's layout; give Limits.memory")
        return self.memory.cell(name, elements[:, None], bits)


class Sites:
    """The tensors of a search: their choices in order, and a number for every element of all of them."""

    def __init__(self, choices: Mapping[str, Choices]) -> None:
        if not choices:
            raise OptionError("there is no tensor to search; choose at least one site")
        self.choices = dict(choices)
        sizes = [one.elements for one in self.choices.values()]
        self.offsets = dict(zip(self.choices, np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist(), strict=True))

    def stored(self) -> Sequence[Stored]:
        """Return the tensors."""
        return [one.stored for one in self.choices.values()]
