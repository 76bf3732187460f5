"""The law of independent bit errors."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.bits import bit_errors, flip_sizes
from faultsim.corruption import Stored, Xor
from faultsim.faults.base import Fault, register
from faultsim.faults.positions import distinct, flip


@register
@dataclass(frozen=True, kw_only=True)
class BitFlip(Fault):
    """Each stored bit flips once, independently, with probability *ber*.

    The number of flips is drawn first, Binomial(bits, ber), then as many distinct bits: the same law as
    one coin a bit at the cost of the flips alone. Bits are those of the storage format: a 4-bit weight in
    an int8 container has 4.

    Attributes:
        ber: Probability per stored bit, 0 to 1.

    Raises:
        OptionError: If *ber* is out of range.

    References:
        D. Stutz et al. Bit error robustness for energy-efficient DNN accelerators. MLSys 2021: random bit
        errors, each bit flipped with probability p, independently.
    """

    kind: ClassVar[str] = "bit_flip"
    ber: float

    def __post_init__(self) -> None:
        check_rate("ber", self.ber)

    def sample(self, stored: Stored, rng: np.random.Generator) -> Xor:
        """Draw the flipped bits of one tensor on one chip."""
        bits = stored.format.bits
        cells = stored.values.size * bits
        return flip(distinct(rng, cells, int(rng.binomial(cells, self.ber))), bits)

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the flips of one tensor: `faultsim.budget.bits.bit_errors` at one rate for all bits."""
        return bit_errors(
            mechanism=self.kind,
            scope=stored.site.name,
            sizes=flip_sizes(stored.format, stored.values),
            rates=self.ber,
            elements=stored.values.size,
            p=p,
            confidence=confidence,
            tensor=(stored.format, stored.values),
        )
