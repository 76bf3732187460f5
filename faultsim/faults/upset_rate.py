"""The law of single-event upsets at a constant rate.

References:
    .. [Ibe2010] E. Ibe et al. Impact of scaling on neutron-induced soft error in SRAMs from a 250 nm to a 22 nm
       design rule. IEEE Transactions on Electron Devices 57(7):1527-1538, 2010: one particle upsets neighbours.
    .. [UG116] AMD UG116, Device Reliability Report: soft error rates in FIT/Mb, 1 FIT = 1 failure in 1e9
       h, at sea level in New York City (JEDEC JESD89A); 1 Mb = 1e6 bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.bits import upsets
from faultsim.corruption import Edit, Stored, Xor
from faultsim.errors import OptionError
from faultsim.faults.base import CHIP, Fault, Generators, register
from faultsim.faults.clusters import cluster_budget, strike
from faultsim.faults.effects import empty
from faultsim.memory import Geometry


@register
@dataclass(frozen=True, kw_only=True)
class UpsetRate(Fault):
    """Particles strike at a constant rate; each flips a few adjacent bits of one word.

    The number of events is Poisson with mean ``FIT/Mb * Mb / 1e9 h * exposure * flux_factor`` ([UG116]_).
    Each picks a bit of the memory uniformly, thereby an element, and flips a run of adjacent bits in that
    element's word; a run longer than the word is cut to it.

    With a *geometry* an event picks a bit of the model as it lies in the memory, and flips its neighbours there
    ([Ibe2010]_): in the memory's word, which may hold several numbers, or along its row or column, across words
    and tensors. A run is cut at the end of its row or bank. All runs of a word's data are equally likely. Such events
    belong to the whole chip in `sample_chip`; `sample` and `budget` take their tensor as lying alone.

    At terrestrial rates almost no chip sees an event. With *given_event* the number is drawn given that
    there is at least one, on the whole chip in `sample_chip` and on the tensor in `sample`; multiply by
    `probability` to undo it.

    Attributes:
        fit_per_mbit: Events per 1e9 h and 1e6 bits at a flux factor of 1, at least 0.
        exposure_h: Hours without a rewrite, at least 0.
        flux_factor: Particle flux over the reference's, at least 0.
        multiplicity: ``P(size = 1, 2, ...)`` bits flipped by one event, adding up to 1.
        given_event: Whether to condition on at least one event.
        pattern: Along what the bits of an event are neighbours; ``row`` and ``column`` need a *geometry*.
        geometry: How the memory's cells lie; ``None`` keeps every event within one element.

    Raises:
        OptionError: If a number is out of range, *given_event* is asked for at rate zero, or a row or column
            pattern without a geometry.
    """

    kind: ClassVar[str] = "upset_rate"
    fit_per_mbit: float
    exposure_h: float
    flux_factor: float = 1.0
    multiplicity: tuple[float, ...] = (1.0,)
    given_event: bool = False
    pattern: Literal["word_cluster", "row", "column"] = "word_cluster"
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        for name in ("fit_per_mbit", "exposure_h", "flux_factor"):
            check_rate(name, getattr(self, name), top=math.inf)
        if not self.multiplicity or min(self.multiplicity) < 0 or abs(sum(self.multiplicity) - 1) > 1e-6:
            raise OptionError(f"multiplicity must be probabilities that add up to 1, got {self.multiplicity}")
        if self.given_event and self.events_per_bit == 0:
            raise OptionError("given_event needs a rate, an exposure and a flux above 0, or no event can happen")
        if self.pattern not in ("word_cluster", "row", "column"):
            raise OptionError(f"unknown pattern {self.pattern!r}; use word_cluster, row or column")
        if self.pattern != "word_cluster" and self.geometry is None:
            raise OptionError(f"pattern {self.pattern} needs a geometry, to know which bits are neighbours")

    @property
    def events_per_bit(self) -> float:
        """Expected events per stored bit over the exposure."""
        return self.fit_per_mbit * 1e-9 * 1e-6 * self.exposure_h * self.flux_factor

    def expected_events(self, stored: Sequence[Stored]) -> float:
        """Return the expected number of events over the exposure in all of *stored* together."""
        return self.events_per_bit * sum(one.values.size * one.format.bits for one in stored)

    def probability(self, stored: Sequence[Stored]) -> float:
        """Return the probability of at least one event in all of *stored* together, 0 to 1."""
        return -math.expm1(-self.expected_events(stored))

    def sample(self, stored: Stored, rng: np.random.Generator) -> Xor:
        """Draw the upsets of one tensor; with *given_event*, given at least one in this tensor."""
        if self.geometry is not None:
            edit = self.sample_chip([stored], lambda _: rng).get(stored.site.name)
            return edit if isinstance(edit, Xor) else empty()
        return self._flips(stored, self._count([stored], rng), rng)

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw the upsets of a chip; with *given_event*, given at least one on the chip.

        Events then come from the chip's own generator, ``generators("*")``, and fall on a site in
        proportion to its bits, whatever the order of *stored*. Untouched sites are left out. So it is with a
        *geometry*, whether *given_event* or not.
        """
        if self.geometry is not None:
            rng = generators(CHIP)
            count = self._count(stored, rng)
            return dict(strike(stored, self.geometry, self.pattern, self.multiplicity, count, rng))
        if not self.given_event:
            return {one.site.name: self.sample(one, generators(one.site.name)) for one in stored}
        order = sorted(stored, key=lambda one: one.site.name)
        sizes = np.array([one.values.size * one.format.bits for one in order], dtype=np.int64)
        rng = generators(CHIP)
        hits = rng.integers(sizes.sum(), size=self._count(order, rng))
        counts = np.bincount(np.searchsorted(np.cumsum(sizes), hits, side="right"), minlength=len(order))
        return {
            one.site.name: self._flips(one, int(count), rng) for one, count in zip(order, counts, strict=True) if count
        }

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the upsets of one tensor; with *given_event*, given one event in this tensor."""
        if self.geometry is not None:
            return cluster_budget(
                mechanism=self.kind,
                stored=stored,
                geometry=self.geometry,
                pattern=self.pattern,
                multiplicity=self.multiplicity,
                events_per_bit=self.events_per_bit,
                given_event=self.given_event,
                p=p,
                confidence=confidence,
            )
        return upsets(
            mechanism=self.kind,
            scope=stored.site.name,
            fmt=stored.format,
            values=stored.values,
            events_per_bit=self.events_per_bit,
            multiplicity=self.multiplicity,
            conditional=self.given_event,
            p=p,
            confidence=confidence,
        )

    def _count(self, stored: Sequence[Stored], rng: np.random.Generator) -> int:
        mean = self.expected_events(stored)
        return positive_poisson(rng, mean) if self.given_event else int(rng.poisson(mean))

    def _flips(self, stored: Stored, count: int, rng: np.random.Generator) -> Xor:
        """Give *count* events to the tensor: element, size, place; two events on one bit cancel."""
        bits = stored.format.bits
        elements = rng.integers(stored.values.size, size=count) if count else np.empty(0, dtype=np.int64)
        shares = np.asarray(self.multiplicity) / sum(self.multiplicity)
        sizes = np.minimum(rng.choice(len(shares), size=count, p=shares) + 1, bits)
        masks = _runs(sizes) << rng.integers(0, bits - sizes + 1).astype(np.uint64)
        indices, place = np.unique(elements, return_inverse=True)
        total = np.zeros(indices.size, dtype=np.uint64)
        np.bitwise_xor.at(total, place, masks)
        return Xor(indices=indices[total != 0], masks=total[total != 0])


def positive_poisson(rng: np.random.Generator, mean: float) -> int:
    """Draw a Poisson number of *mean* > 0 given that it is at least 1, by inversion; exact for tiny means."""
    if mean > 20:
        while True:
            if (count := int(rng.poisson(mean))) > 0:
                return count
    left = float(rng.random()) * -math.expm1(-mean)
    count, share = 1, mean * math.exp(-mean)
    while left > share and share > 0:
        left -= share
        count += 1
        share *= mean / count
    return count


def _runs(sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Words with the lowest *sizes* (1 to 64) bits set."""
    return np.uint64(0xFFFF_FFFF_FFFF_FFFF) >> (64 - sizes).astype(np.uint64)
