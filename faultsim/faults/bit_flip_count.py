"""The law of a known number of flipped bits."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from faultsim.budget.base import Budget
from faultsim.budget.flip_count import flip_count
from faultsim.corruption import Edit, Stored, Xor
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.base import CHIP, Fault, Generators, register
from faultsim.faults.positions import distinct, flip


@register
@dataclass(frozen=True, kw_only=True)
class BitFlipCount(Fault):
    """Exactly *n* distinct stored bits of the chip flip, every set of n bits equally likely.

    It is `BitFlip` given that n bits flipped, and the fair random rival of an adversary with a budget of n flips.
    A tensor is hit in proportion to its stored bits. `sample` and `budget` take their tensor for the whole chip:
    all n flips fall into it, which is also the most that a larger chip could do to it.

    Attributes:
        n: Flipped bits, at least 0.

    Raises:
        OptionError: If *n* is no whole number of at least 0.

    References:
        D. Stutz et al. Random and adversarial bit error robustness. IEEE TPAMI 2022 (arXiv 2104.08323):
        corruptions measured by the number of flipped bits of all weights.
    """

    kind: ClassVar[str] = "bit_flip_count"
    n: int

    def __post_init__(self) -> None:
        try:
            whole = operator.index(self.n)
        except TypeError:
            whole = -1
        if whole < 0:
            raise OptionError(f"n must be a whole number of flipped bits, at least 0, got {self.n!r}")

    def sample(self, stored: Stored, rng: np.random.Generator) -> Xor:
        """Draw n flipped bits of one tensor."""
        bits = stored.format.bits
        return flip(distinct(rng, self._room([stored]), self.n), bits)

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw n flipped bits of all tensors together, whatever the order of *stored*; whole tensors are left out.

        Raises:
            DeviceError: If the chip stores fewer than n bits.
        """
        order = sorted(stored, key=lambda one: one.site.name)
        positions = distinct(generators(CHIP), self._room(order), self.n)
        edits: dict[str, Edit] = {}
        start = 0
        for one in order:
            stop = start + one.values.size * one.format.bits
            low, high = np.searchsorted(positions, [start, stop])
            if high > low:
                edits[one.site.name] = flip(positions[low:high] - start, one.format.bits)
            start = stop
        return edits

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the flips of one tensor that takes all n of them: `faultsim.budget.flip_count`."""
        return flip_count(
            mechanism=self.kind,
            scope=stored.site.name,
            fmt=stored.format,
            values=stored.values,
            flips=self.n,
            p=p,
            confidence=confidence,
        )

    def _room(self, stored: Sequence[Stored]) -> int:
        total = sum(one.values.size * one.format.bits for one in stored)
        if self.n > total:
            raise DeviceError(f"{self.n} bits cannot flip where only {total} are stored; ask for fewer flips")
        return total
