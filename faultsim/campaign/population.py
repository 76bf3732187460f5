"""`Population`: every stored bit of the chosen sites, and its strata. Nothing is drawn or estimated here.

A *fault* is one flipped bit: site, element, bit (0 the least significant of the stored word). Faults are numbered site
by site, element by element, bit by bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored
from faultsim.errors import OptionError

Ints = NDArray[np.int64]
Stratify = Literal["none", "site", "bit", "site,bit"]
STRATIFY: tuple[str, ...] = get_args(Stratify)
MOST_STRATA = 100_000


class Region(NamedTuple):
    """The bits of one site.

    Attributes:
        site: Name of the tensor.
        kind: What sort of layer it belongs to.
        role: What it is to that layer.
        format: Name of the stored format.
        elements: Words.
        bits: Stored bits a word.
    """

    site: str
    kind: str
    role: str
    format: str
    elements: int
    bits: int


class Faults(NamedTuple):
    """Flipped bits, one an entry, all of one shape.

    Attributes:
        site: Index of the region.
        element: Flat index in its tensor.
        bit: Bit of the stored word, 0 the least significant.
    """

    site: Ints
    element: Ints
    bit: Ints


class Part(NamedTuple):
    """A stratum: some bits of some regions.

    Attributes:
        name: For keys and reports, such as ``conv1.weight bit 30``.
        regions: Indices of the regions.
        bit: The only bit position; None: all.
        population: Faults.
    """

    name: str
    regions: tuple[int, ...]
    bit: int | None
    population: int


@dataclass(frozen=True)
class Population:
    """The faults that a campaign draws from.

    Attributes:
        regions: The chosen sites, in the order of the layers.
        stratify: How they are split.
    """

    regions: tuple[Region, ...]
    stratify: Stratify = "none"

    @property
    def faults(self) -> int:
        """Single-bit faults: stored bits of all sites."""
        return sum(one.elements * one.bits for one in self.regions)

    @cached_property
    def strata(self) -> tuple[Part, ...]:
        """The strata in order; their populations add up to `faults`.

        Raises:
            OptionError: If there are too many.
        """
        regions = self.regions
        everywhere = tuple(range(len(regions)))
        if self.stratify == "none":
            return (Part("all", everywhere, None, self.faults),)
        if self.stratify == "site":
            return tuple(Part(one.site, (i,), None, one.elements * one.bits) for i, one in enumerate(regions))
        if self.stratify == "bit":
            found = []
            for bit in range(max(one.bits for one in regions)):
                inside = tuple(i for i in everywhere if regions[i].bits > bit)
                found.append(Part(f"bit {bit}", inside, bit, sum(regions[i].elements for i in inside)))
            return tuple(found)
        count = sum(one.bits for one in regions)
        if count > MOST_STRATA:
            raise OptionError(
                f"--stratify site,bit gives {count:,} strata, allowed are {MOST_STRATA:,}; choose fewer sites"
            )
        return tuple(
            Part(f"{one.site} bit {bit}", (i,), bit, one.elements)
            for i, one in enumerate(regions)
            for bit in range(one.bits)
        )

    @cached_property
    def starts(self) -> Ints:
        """Number of the first trial of each stratum, and behind the last one: trials are numbered by stratum."""
        return np.concatenate([[0], np.cumsum([part.population for part in self.strata])]).astype(np.int64)

    def stratum_of(self, trials: Ints) -> Ints:
        """Return the stratum of each trial."""
        return np.searchsorted(self.starts, trials, side="right").astype(np.int64) - 1

    def stratum_of_one(self, trial: int) -> int:
        """Return the stratum of one trial."""
        return int(self.stratum_of(np.array([trial], dtype=np.int64))[0])

    def faults_of(self, stratum: int, units: Ints) -> Faults:
        """Return the faults behind unit numbers inside a stratum."""
        part = self.strata[stratum]
        sizes = [self.regions[i].elements * (1 if part.bit is not None else self.regions[i].bits) for i in part.regions]
        ends = np.cumsum(np.array(sizes, dtype=np.int64))
        place = np.searchsorted(ends, units, side="right")
        local = units - np.concatenate([[0], ends])[place]
        site = np.array(part.regions, dtype=np.int64)[place]
        if part.bit is not None:
            return Faults(site, local.astype(np.int64), np.full_like(site, part.bit))
        bits = np.array([one.bits for one in self.regions], dtype=np.int64)[site]
        return Faults(site, local // bits, local % bits)

    def cells(self, regions: Sequence[int], bit: int | None) -> Ints:
        """Return how many faults of each stratum lie in some regions, at one bit position where *bit* is given."""
        every = self._crossings
        strata, only, words, bits = every[:, np.isin(every[0], regions)][1:]
        at = only if bit is None else np.full_like(only, bit)
        held = np.where(at < 0, words * bits, np.where(at < bits, words, 0))
        if bit is not None:
            held[(only >= 0) & (only != bit)] = 0
        sizes = np.zeros(len(self.strata), np.int64)
        np.add.at(sizes, strata, held)
        return sizes

    @cached_property
    def _crossings(self) -> Ints:
        """Every region in every stratum that has bits of it: region, stratum, its only bit (-1: all), words, bits."""
        pairs = [
            (i, h, -1 if part.bit is None else part.bit, self.regions[i].elements, self.regions[i].bits)
            for h, part in enumerate(self.strata)
            for i in part.regions
        ]
        return np.array(pairs, dtype=np.int64).T


def population_of(stored: Mapping[str, Stored], roles: Sequence[str], stratify: Stratify, *, where: str) -> Population:
    """Return the population of the stored tensors of some roles.

    Args:
        stored: The tensors as they are stored.
        roles: Roles to draw from.
        stratify: How to split.
        where: What stores them, for the message.

    Raises:
        OptionError: If there is no tensor of these roles.
        DeviceError: If they are not stored as bits.
    """
    chosen = [one for one in stored.values() if one.site.role in roles and one.site.elements]
    if not chosen:
        known = ", ".join(sorted({one.site.role for one in stored.values()}))
        raise OptionError(f"no stored tensor has a role of --roles {','.join(roles)}; {where} stores {known}")
    regions = tuple(
        Region(s.site.name, s.site.kind, s.site.role, s.format.name, s.site.elements, s.format.bits) for s in chosen
    )
    return Population(regions, stratify)
