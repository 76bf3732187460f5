"""The law of cells that hold one value for good."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.confusion import cell_errors
from faultsim.corruption import Stored, Stuck
from faultsim.errors import OptionError
from faultsim.faults.base import Fault, register
from faultsim.faults.positions import distinct, gather


@register
@dataclass(frozen=True, kw_only=True)
class StuckBits(Fault):
    """Each stored bit of a die is stuck, independently: at 0 with one probability, at 1 with another.

    A stuck bit is no wrong bit: one that happens to hold what it is stuck at reads right until other numbers are
    written. Data with as many ones as zeros have a bit error rate of ``(p_zero + p_one) / 2``.

    Attributes:
        p_zero: Probability that a bit is stuck at 0.
        p_one: Probability that a bit is stuck at 1; together at most 1.

    Raises:
        OptionError: If a probability is out of range, or they add up to more than 1.

    References:
        C.-Y. Chen et al. RRAM defect modeling and failure analysis. IEEE Trans. Computers 64:180-190, 2015:
        stuck-at-0 and stuck-at-1 cells with a rate of their own each.
    """

    kind: ClassVar[str] = "stuck_bits"
    p_zero: float
    p_one: float

    def __post_init__(self) -> None:
        check_rate("p_zero", self.p_zero)
        check_rate("p_one", self.p_one)
        if self.p_zero + self.p_one > 1:
            raise OptionError(f"p_zero and p_one must add up to at most 1, got {self.p_zero + self.p_one:g}")

    def sample(self, stored: Stored, rng: np.random.Generator) -> Stuck:
        """Draw the stuck bits of one tensor on one die, those that do no harm included."""
        bits = stored.format.bits
        cells = stored.values.size * bits
        either = self.p_zero + self.p_one
        positions = distinct(rng, cells, int(rng.binomial(cells, either)))
        ones = rng.random(positions.size) * either < self.p_one
        indices, masks = gather(positions, bits)
        high, high_masks = gather(positions[ones], bits)
        values = np.zeros_like(masks)
        values[np.searchsorted(indices, high)] = high_masks
        return Stuck(indices=indices, masks=masks, bits=values)

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the change of one tensor: a stuck bit counts only where it reads other than what is stored."""
        cell = np.array([[1 - self.p_one, self.p_one], [self.p_zero, 1 - self.p_zero]])
        return cell_errors(
            mechanism=self.kind,
            scope=stored.site.name,
            fmt=stored.format,
            values=stored.values,
            cells=[cell] * stored.format.bits,
            p=p,
            confidence=confidence,
        )
