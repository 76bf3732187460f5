"""A rank of DRAM devices and which bits of a model each part of a device supplies. Rates are in `fault_modes`.

See `faultsim.faults.fault_modes` for the sources of what each mode takes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.regions import Regions
from faultsim.corruption import Stored, Stuck, Xor
from faultsim.errors import DeviceError
from faultsim.faults.clusters import single_bits
from faultsim.faults.effects import region_effects
from faultsim.faults.positions import gather
from faultsim.memory import CHECKS, Geometry, MemoryMap

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BEAT = 64
"""Data bits that all devices of a rank supply together."""
_CHUNK = 1 << 18


class Hit(NamedTuple):
    """One fault: its mode, which place of that mode, and which device."""

    mode: str
    place: int
    lane: int


class Rank:
    """The words of a model in one rank; word i is one beat of 64 data bits, w of them from each device.

    Attributes:
        memory: Where the tensors lie, the check bits left out.
        data_lanes: Devices that hold its data.
        lanes: Devices that hold part of the model, its check bits included where they are there.

    Raises:
        DeviceError: If the model does not fit the devices.
    """

    def __init__(
        self, stored: Sequence[Stored], geometry: Geometry, width: int, devices: int, device_mbit: float
    ) -> None:
        self.memory = MemoryMap([one for one in stored if one.site.name != CHECKS], geometry)
        self._width = width
        self._capacity = device_mbit * 1e6
        self.data_lanes = BEAT // width
        checks = next((one for one in stored if one.site.name == CHECKS), None)
        self._check_bits = checks.format.bits if checks is not None and checks.values.size == self.memory.words else 0
        self.lanes = self.data_lanes + min(-(-self._check_bits // width), devices - self.data_lanes)
        if self.memory.words * width > self._capacity:
            raise DeviceError(
                f"the model needs {self.memory.words * width / 1e6:g} Mbit of each device of the rank, which has"
                f" {device_mbit:g}; give a larger device_mbit"
            )

    def places(self, mode: str) -> int:
        """Return the number of places of a device in which a fault of *mode* touches the model."""
        shape, words = self.memory.geometry, self.memory.words
        whole, rest = divmod(words, shape.bank_words)
        return {
            "bit": words * self._width,
            "word": words,
            "column": whole * shape.row_words + min(rest, shape.row_words),
            "row": self.memory.rows_used,
            "bank": self.memory.banks_used,
            "multi_bank": min(words, 1),
            "multi_rank": min(words, 1),
        }[mode]

    def share(self, mode: str) -> float:
        """Return the probability that a fault of *mode*, anywhere in a device, touches the model."""
        shape = self.memory.geometry
        size = {
            "bit": 1,
            "word": self._width,
            "column": shape.rows * self._width,
            "row": shape.row_words * self._width,
            "bank": shape.bank_words * self._width,
        }
        return min(self.places(mode) * size.get(mode, self._capacity) / self._capacity, 1.0)

    def words(self, hit: Hit) -> Ints:
        """Return the words in the range of a fault, ascending."""
        shape, words = self.memory.geometry, self.memory.words
        if hit.mode == "bit":
            return np.array([hit.place // self._width], dtype=np.int64)
        if hit.mode == "column":
            bank, column = divmod(hit.place, shape.row_words)
            start = bank * shape.bank_words
            stop = min(start + shape.bank_words, words)
            return np.arange(start + column, stop, shape.row_words, dtype=np.int64)
        length = {"word": 1, "row": shape.row_words, "bank": shape.bank_words}.get(hit.mode, words)
        return np.arange(hit.place * length, min((hit.place + 1) * length, words), dtype=np.int64)

    def edits(self, hit: Hit, permanent: bool, rng: np.random.Generator) -> Iterator[tuple[str, Xor | Stuck]]:
        """Draw what the bits in a fault's range read as; parts of one tensor have no element in common."""
        one = hit.mode == "bit"
        bits = np.array([hit.place % self._width]) if one else np.arange(self._width, dtype=np.int64)
        words = self.words(hit)
        for start in range(0, words.size, _CHUNK):
            part = words[start : start + _CHUNK]
            coins = rng.integers(2, size=(part.size, bits.size)) == 1
            if one and not permanent:
                coins[:] = True
            if hit.lane < self.data_lanes:
                cells = part[:, None] * BEAT + hit.lane * self._width + bits
                yield from (self.memory.stuck(cells, coins.reshape(-1)) if permanent else {}).items()
                yield from ({} if permanent else self.memory.xor(cells[coins])).items()
            else:
                yield from self._checks(part, (hit.lane - self.data_lanes) * self._width + bits, coins, permanent)

    def _checks(
        self, words: Ints, bits: Ints, coins: NDArray[np.bool_], permanent: bool
    ) -> Iterator[tuple[str, Xor | Stuck]]:
        """Likewise for the check bits of words."""
        held = bits < self._check_bits
        places = (words[:, None] * self._check_bits + bits)[:, held]
        indices, masks = gather(places[coins[:, held]], self._check_bits)
        if permanent:
            everyone, every = gather(places.reshape(-1), self._check_bits)
            ones = np.zeros_like(every)
            ones[np.searchsorted(everyone, indices)] = masks
            yield CHECKS, Stuck(indices=everyone, masks=every, bits=ones)
        else:
            yield CHECKS, Xor(indices=indices, masks=masks)


def mode_regions(rank: Rank, stored: Stored, rates: Floats, p: float) -> Regions:
    """Return what a fault of each mode, place and device does to one tensor that lies alone in the rank.

    Args:
        rank: The rank with the tensor.
        stored: The tensor.
        rates: Expected transient and permanent faults of each mode, shape (2, modes).
        p: 1, 2 or ``math.inf``.
    """
    memory, shape, lanes = rank.memory, rank.memory.geometry, rank.data_lanes
    width = BEAT // lanes
    parts: list[Regions] = []

    def add(touched: Floats, moved: Floats, rate: float) -> None:
        parts.append(Regions(touched.ravel(), moved.ravel(), np.full(touched.size, rate / max(touched.size, 1))))

    flips = single_bits(memory, stored, p)
    held = memory.data_bits / max(memory.words * BEAT, 1)  # the others hit padding
    bits = float(rates[:, 0].sum())
    wrong = float(rates[0, 0] + rates[1, 0] / 2) * held  # a bit stuck at a coin is right half of the time
    add(flips.touched, flips.moved, wrong)
    add(np.zeros(1), np.zeros(1), bits - wrong)
    done = region_effects(
        stored, memory, lambda cells: cells // BEAT * lanes + cells % BEAT // width, memory.words * lanes, "random", p
    )
    touched, moved = (part.reshape(memory.words, lanes) for part in done)
    word = np.arange(memory.words, dtype=np.int64)
    bank = word // shape.bank_words
    places = {
        "word": word,
        "column": bank * shape.row_words + word % shape.row_words,
        "row": word // shape.row_words,
        "bank": bank,
        "multi_bank": np.zeros_like(word),
        "multi_rank": np.zeros_like(word),
    }
    for rate, (mode, place) in zip(rates[:, 1:].sum(axis=0), places.items(), strict=True):
        of, by = (np.zeros((rank.places(mode), lanes)) for _ in range(2))
        np.add.at(of, place, touched)
        (np.maximum if np.isinf(p) else np.add).at(by, place, moved)
        add(of, by, float(rate))
    return Regions(*(np.concatenate(column) for column in zip(*parts, strict=True)))
