"""The law of cells that flip when the rows beside them are hammered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.bits import bit_errors, flip_sizes
from faultsim.budget.flip_count import flip_count
from faultsim.budget.mixture import mixture_quantile
from faultsim.corruption import Edit, Stored, Xor
from faultsim.errors import OptionError
from faultsim.faults.base import CHIP, Fault, Generators, register
from faultsim.faults.effects import bits_at, empty
from faultsim.faults.positions import distinct
from faultsim.memory import Geometry, MemoryMap


class Flippable(NamedTuple):
    """The cells of a die that hammering can flip, three arrays of shape (cells,), ascending.

    Attributes:
        cells: Logical cells of the memory map.
        to_one: Whether the cell flips from 0 to 1, and never back; else from 1 to 0 only.
        pages: The page of each cell.
    """

    cells: NDArray[np.int64]
    to_one: NDArray[np.bool_]
    pages: NDArray[np.int64]


class _Radius(NamedTuple):
    n: int
    eps: float


@register
@dataclass(frozen=True, kw_only=True)
class RowHammer(Fault):
    """Hammering without aim flips a few cells of a fixed, die-specific set, each in its own direction only.

    The die decides which cells can flip (a fraction of all, drawn with the direction of each); data decide which
    do: a cell flips only if it holds what its direction takes away. Of the cells that can and may, *n_flips* are
    picked at random, at most *max_flips_per_page* in one page, and as many as there are where they are fewer.
    `flippable` gives the set itself, for an adversary who aims.

    `sample` and `budget` take their tensor as lying alone in the memory.

    Attributes:
        n_flips: Flips that the attack reaches, at least 0.
        flippable_fraction: Share of the cells that can flip, 0 to 1.
        max_flips_per_page: Flips that one page of `geometry.page_bits` cells can take, at least 1.
        geometry: How the memory's cells lie.

    Raises:
        OptionError: If a number is out of range.

    References:
        A. Tatar et al. Defeating software mitigations against Rowhammer: a surgical precision hammer. RAID 2018
        (vusec/hammertime, README): tables of a module's flippable bits, each pulled up or pulled down.
    """

    kind: ClassVar[str] = "rowhammer"
    n_flips: int
    flippable_fraction: float
    max_flips_per_page: int = 1
    geometry: Geometry = field(default_factory=Geometry)

    def __post_init__(self) -> None:
        check_rate("flippable_fraction", self.flippable_fraction)
        for name, least in (("n_flips", 0), ("max_flips_per_page", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise OptionError(f"{name} must be a whole number of flips, at least {least}, got {value!r}")

    def flippable(self, stored: Sequence[Stored], generators: Generators) -> Flippable:
        """Return the cells of this die that can flip, and which way: the same that `sample_chip` picks from.

        Args:
            stored: All tensors in the memory, any order.
            generators: Those of the die; only the chip's own is asked.
        """
        return self._flippable(MemoryMap(stored, self.geometry), generators(CHIP))

    def eligible(self, stored: Sequence[Stored], flippable: Flippable) -> Flippable:
        """Return those flippable cells that hold the bit which their direction takes away."""
        memory = MemoryMap(stored, self.geometry)
        return _eligible(memory, {one.site.name: one for one in stored}, flippable)

    def sample(self, stored: Stored, rng: np.random.Generator) -> Xor:
        """Draw the flips of a memory that holds this tensor alone."""
        edit = self.sample_chip([stored], lambda _: rng).get(stored.site.name)
        return edit if isinstance(edit, Xor) else empty()

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw the die and the flips of one attack on it; whole tensors are left out."""
        memory = MemoryMap(stored, self.geometry)
        rng = generators(CHIP)
        die = self._flippable(memory, rng)
        able = _eligible(memory, {one.site.name: one for one in stored}, die)
        order = rng.permutation(able.cells.size)
        pages = able.pages[order]
        first = np.argsort(pages, kind="stable")
        ranked = pages[first]
        rank = np.empty(order.size, dtype=np.int64)
        rank[first] = np.arange(order.size) - np.searchsorted(ranked, ranked)
        picked = order[rank < self.max_flips_per_page][: self.n_flips]
        return dict(memory.xor(able.cells[picked]))

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the flips of one tensor that holds all of the attack.

        Which cells can flip has nothing to do with the data, so each stored bit is as likely to be picked: at most
        *n_flips* of them (`faultsim.budget.flip_count`), and no more than can flip, a share of half the flippable
        fraction: with one flip a page as pages allow, with several as if on one page (`faultsim.budget.bits`). The
        smaller bound of the two holds.
        """
        fmt, values = stored.format, stored.values
        pages = -(-MemoryMap([stored], self.geometry).cells // self.geometry.page_bits)
        capped = flip_count(
            mechanism=self.kind,
            scope=stored.site.name,
            fmt=fmt,
            values=values,
            flips=min(self.n_flips, pages * self.max_flips_per_page),
            p=p,
            confidence=confidence,
        )
        found = self._one_a_page(stored, p, confidence) if self.max_flips_per_page == 1 else None
        if found is None:
            able = bit_errors(
                mechanism=self.kind,
                scope=stored.site.name,
                sizes=flip_sizes(fmt, values),
                rates=self.flippable_fraction / 2,
                elements=values.size,
                p=p,
                confidence=confidence,
            )
            found = _Radius(able.n, able.eps)
        n, eps = min(capped.n, found.n), min(capped.eps, found.eps)
        return replace(capped, n=n, eps=eps, note=self._said(capped.note, pages) if n else "")

    def _said(self, note: str, pages: int) -> str:
        exact = self.max_flips_per_page == 1 and self.n_flips >= pages
        said = "" if exact else "as if no two flips fell on one page or found no cell: an upper bound"
        return "; ".join(part for part in (note, said) if part)

    def _one_a_page(self, stored: Stored, p: float, confidence: float) -> _Radius:
        """Return the quantiles of how many words flip and by how much, where each page with a cell to flip has one.

        Exact where *n_flips* are as many as the pages: each page flips by itself, any of its bits alike.
        """
        page, held = self.geometry.page_bits, stored.values.size * stored.format.bits
        cells = MemoryMap([stored], self.geometry).cells
        full, rest = divmod(cells, page)
        spared = math.log1p(-self.flippable_fraction / 2) * held / max(cells, 1)
        held_by = np.array([[page, full], [rest, 1]], dtype=np.float64)
        held_by = held_by[np.all(held_by > 0, axis=1)]
        chances, pages = -np.expm1(spared * held_by[:, 0]), held_by[:, 1]
        n = round(mixture_quantile(np.ones((len(pages), 1)), chances[:, None], pages, confidence))
        sizes = flip_sizes(stored.format, stored.values)
        if not n or not np.all(np.isfinite(sizes)):
            return _Radius(n, math.inf if n else 0.0)
        heights, counts = np.unique(sizes, return_counts=True)
        shares = counts / sizes.size
        above = np.append(np.cumsum(shares[::-1])[::-1], 0.0)
        with np.errstate(divide="ignore"):
            inside = np.exp(pages @ np.log1p(-chances[:, None] * np.minimum(above, 1.0)))
        largest = float(np.append(0.0, heights)[np.flatnonzero(inside >= confidence - 1e-12)[0]])
        if p == math.inf:
            return _Radius(n, largest)
        found = mixture_quantile(heights[None] ** p, chances[:, None] * shares, pages, confidence) ** (1 / p)
        return _Radius(n, max(found, largest))  # exact where small flips are lost in the grid of large ones

    def _flippable(self, memory: MemoryMap, rng: np.random.Generator) -> Flippable:
        count = int(rng.binomial(memory.cells, self.flippable_fraction))
        cells = distinct(rng, memory.cells, count)
        to_one = rng.random(count) < 0.5
        held = memory.owner(cells).site >= 0
        return Flippable(cells[held], to_one[held], cells[held] // self.geometry.page_bits)


def _eligible(memory: MemoryMap, stored: Mapping[str, Stored], die: Flippable) -> Flippable:
    allowed = bits_at(memory, stored, die.cells) != die.to_one
    return Flippable(*(part[allowed] for part in die))
