"""The law of DRAM faults as they are counted in the field: by the part of a device that they take.

References:
    .. [Sridharan2012] V. Sridharan, D. Liberty. A study of DRAM failures in the field. SC 2012: rates of transient
       and permanent faults per device, by mode.
    .. [FaultSim2015] P. Nair, D. Roberts, M. Qureshi. FaultSim: a fast, configurable memory-reliability simulator.
       ACM TACO 2015; ``src/DRAMDomain.cpp``, generateRanges: a word fault takes all bits of one access, a column
       one access address in all rows, a row all of a row, multi-bank all banks of a device, multi-rank its ranks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.bits import FLOAT_NOTE
from faultsim.budget.regions import STRUCTURED, region_failures
from faultsim.corruption import Edit, Stored, Stuck, Xor
from faultsim.errors import OptionError
from faultsim.faults.base import CHIP, Fault, Generators, register
from faultsim.faults.effects import empty, merged
from faultsim.faults.rank import BEAT, Hit, Rank, mode_regions
from faultsim.faults.upset_rate import positive_poisson
from faultsim.formats import FloatFormat
from faultsim.memory import Geometry


class ModeRates(NamedTuple):
    """Faults per 1e9 device hours (FIT per device) of each mode, each at least 0."""

    bit: float = 0.0
    word: float = 0.0
    column: float = 0.0
    row: float = 0.0
    bank: float = 0.0
    multi_bank: float = 0.0
    multi_rank: float = 0.0


@register
@dataclass(frozen=True, kw_only=True)
class FaultModes(Fault):
    """DRAM devices fail by bit, word, column, row or bank; each device supplies a few bits of every 64.

    A device of width w supplies w adjacent bits (its *lane*) of each 64 data bits, so a row fault is the same nibble
    (x4) or byte (x8) of many words. Each bit in a fault's range reads a coin: half of them are wrong. Of a permanent
    fault they stay what they are (`Stuck`), of a transient one they are flipped or not (`Xor`). A transient bit
    fault is always a flip: it was counted because it was one.

    The model fills consecutive words, rows, then banks of one rank. A fault of FIT rate λ touches it, per lane and
    hour, at the rate ``1e-9 λ`` times the share of the device's places that hold part of it (C = `device_mbit` 1e6):

    - bit, word: ``words w / C``;
    - column: columns with a word of the model, of ``C / (rows w)``;
    - row: ``rows used row_words w / C``; bank: ``banks used rows row_words w / C``;
    - multi-bank and multi-rank: 1, as they take the lane of everything in the rank.

    Devices of check bits matter only where *stored* holds the check bits (``"#ecc"``, one element per 64 data
    bits): element i then fails with word i. At field rates almost no chip has a fault: with *given_event* the
    number is drawn given that there is at least one, as in `UpsetRate`.

    Attributes:
        transient: FIT per device of transient faults.
        permanent: FIT per device of permanent faults.
        exposure_h: Hours, at least 0.
        device_mbit: Capacity of one device, 1e6 bits.
        device_width: Bits that a device supplies to each 64, 4 or 8.
        devices: Devices of a rank, those of check bits included; at least ``64 / device_width``.
        geometry: `word_bits` 64, `rows` of a bank and `row_words` accesses of a row.
        given_event: Whether to condition on at least one fault.

    Raises:
        OptionError: If a number is out of range, or *given_event* is asked for where no fault can happen.
    """

    kind: ClassVar[str] = "fault_modes"
    transient: ModeRates
    permanent: ModeRates
    exposure_h: float
    device_mbit: float
    device_width: int = 4
    devices: int = 18
    geometry: Geometry = field(default_factory=lambda: Geometry(rows=16384, row_words=2048))
    given_event: bool = False

    def __post_init__(self) -> None:
        check_rate("exposure_h", self.exposure_h, top=math.inf)
        for name in ("transient", "permanent"):
            for mode, rate in getattr(self, name)._asdict().items():
                check_rate(f"{name}.{mode}", rate, top=math.inf)
        if self.device_width not in (4, 8):
            raise OptionError(f"device_width must be 4 or 8 of each {BEAT} data bits, got {self.device_width}")
        if self.devices < BEAT // self.device_width:
            raise OptionError(
                f"a rank of x{self.device_width} devices needs at least {BEAT // self.device_width}, got {self.devices}"
            )
        if self.geometry.word_bits != BEAT:
            raise OptionError(f"fault modes need memory words of {BEAT} data bits, got {self.geometry.word_bits}")
        bank_mbit = self.geometry.bank_words * self.device_width / 1e6
        if not bank_mbit <= self.device_mbit < math.inf:
            raise OptionError(
                f"device_mbit must be finite and hold a bank of the geometry, {bank_mbit:g} Mbit, got"
                f" {self.device_mbit:g}"
            )
        if self.given_event and self.exposure_h * (sum(self.transient) + sum(self.permanent)) == 0:
            raise OptionError("given_event needs a rate and an exposure above 0, or no fault can happen")

    def expected_events(self, stored: Sequence[Stored]) -> float:
        """Return the expected number of faults over the exposure that touch the part of the rank with *stored*.

        Raises:
            DeviceError: If the model does not fit one rank.
        """
        return float(self._rates(self._rank(stored)).sum())

    def probability(self, stored: Sequence[Stored]) -> float:
        """Return the probability of at least one such fault, 0 to 1."""
        return -math.expm1(-self.expected_events(stored))

    def sample(self, stored: Stored, rng: np.random.Generator) -> Xor | Stuck:
        """Draw the faults of a rank that holds this tensor alone."""
        edit = self.sample_chip([stored], lambda _: rng).get(stored.site.name)
        return edit if isinstance(edit, Xor | Stuck) else empty()

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw the faults of the rank that holds all of *stored*; whole tensors are left out.

        Raises:
            DeviceError: If the model does not fit one rank.
        """
        rank = self._rank(stored)
        rates = self._rates(rank)
        mean = float(rates.sum())
        rng = generators(CHIP)
        count = positive_poisson(rng, mean) if self.given_event and mean > 0 else int(rng.poisson(mean))
        flips: dict[str, list[Xor]] = {}
        stuck: dict[str, list[Stuck]] = {}
        for _ in range(count):
            kind = int(rng.choice(rates.size, p=rates.ravel() / mean))
            permanent, mode = kind >= len(ModeRates._fields), ModeRates._fields[kind % len(ModeRates._fields)]
            place = int(rng.integers(rank.places(mode)))
            hit = Hit(mode, place, int(rng.integers(rank.lanes)))
            for name, edit in rank.edits(hit, permanent, rng):
                if isinstance(edit, Stuck):
                    stuck.setdefault(name, []).append(edit)
                else:
                    flips.setdefault(name, []).append(edit)
        by_name = {one.site.name: one for one in stored}
        found = {name: merged(by_name[name], flips.get(name, []), stuck.get(name, [])) for name in {**flips, **stuck}}
        return {name: edit for name, edit in sorted(found.items()) if edit.indices.size}

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the faults of one tensor that lies alone in the rank; with *given_event*, given one there.

        Every element in a fault's range counts as changed, and as far off as its bits can bring it: an upper bound,
        exact for transient bit faults.
        """
        rank = self._rank([stored])
        regions = mode_regions(rank, stored, self._rates(rank), p)
        return region_failures(
            mechanism=self.kind,
            scope=stored.site.name,
            regions=regions,
            elements=stored.values.size,
            given_event=self.given_event,
            overlap=math.inf,
            p=p,
            confidence=confidence,
            note=FLOAT_NOTE if isinstance(stored.format, FloatFormat) else STRUCTURED,
        )

    def _rank(self, stored: Sequence[Stored]) -> Rank:
        return Rank(stored, self.geometry, self.device_width, self.devices, self.device_mbit)

    def _rates(self, rank: Rank) -> NDArray[np.float64]:
        """Return expected faults over the exposure, shape (2, modes): transient, permanent."""
        share = np.array([rank.share(mode) for mode in ModeRates._fields])
        rates: NDArray[np.float64] = np.array([self.transient, self.permanent], dtype=np.float64)
        return rates * (share * 1e-9 * self.exposure_h * rank.lanes)
