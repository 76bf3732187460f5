"""The law of memory cells that fail below a voltage of their own.

References:
    .. [Stutz2021] D. Stutz et al. Bit error robustness for energy-efficient DNN accelerators. MLSys 2021,
       §3 and fig. 1: the error rate grows exponentially as voltage falls; a cell that fails at one voltage
       fails at every lower one.
"""

import bisect
import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.bits import bit_errors, flip_sizes, stored_bits
from faultsim.corruption import Stored, Stuck
from faultsim.errors import OptionError
from faultsim.faults.base import Fault, register
from faultsim.faults.positions import distinct, gather


@register
@dataclass(frozen=True, kw_only=True)
class VoltageBitErrors(Fault):
    """Each cell has a threshold u of its own and fails, for good, at every voltage V with ``u < ber(V)``.

    With one generator the cells that fail at 0.9 also fail at 0.8 ([Stutz2021]_). A failing cell reads 1 with
    probability *p_flip_0to1* and else 0, whatever was written: a cell that happens to hold what it reads
    does no harm, so at ``p_flip_0to1 = 0.5`` about half of the failing cells are wrong at a time.

    ``log10 ber`` is linear in the voltage between two points of the table. Below the highest voltage of
    rate zero the slope of the neighbouring segment goes on until that voltage, where the rate drops to zero.

    Attributes:
        voltage: Supply, in the unit of the table's first column (V, or V/Vmin).
        table: Points ``(voltage, ber)``, any order, each voltage once; ber in [0, 1], not falling as
            voltage falls.
        p_flip_0to1: Probability that a failing cell reads 1, 0 to 1.

    Raises:
        OptionError: If the table or a number is out of range, or the voltage is below the table's lowest.
    """

    kind: ClassVar[str] = "voltage_bit_errors"
    voltage: float
    table: tuple[tuple[float, float], ...]
    p_flip_0to1: float = 0.5

    def __post_init__(self) -> None:
        check_rate("p_flip_0to1", self.p_flip_0to1)
        points = sorted(self.table)
        if not points or any(a[0] == b[0] for a, b in itertools.pairwise(points)):
            raise OptionError(f"the BER table needs distinct voltages, at least one, got {self.table}")
        for _, ber in points:
            check_rate("ber", ber)
        if any(a[1] < b[1] for a, b in itertools.pairwise(points)):
            raise OptionError("the BER table must not fall as the voltage falls; check its points")
        if not self.voltage >= points[0][0]:
            raise OptionError(
                f"voltage {self.voltage:g} is below the BER table, which starts at {points[0][0]:g}; "
                "measure further down or raise the voltage"
            )

    def ber(self) -> float:
        """Return the probability that a cell fails at this voltage, in [0, 1]."""
        points = sorted(self.table)
        at = bisect.bisect_right([v for v, _ in points], self.voltage)
        if at == len(points):
            return points[-1][1]
        (v0, b0), (v1, b1) = points[at - 1], points[at]
        if b0 == 0 or b0 == b1:
            return b0
        if b1 > 0:
            slope = (math.log10(b1) - math.log10(b0)) / (v1 - v0)
        elif at >= 2:
            below, ber_below = points[at - 2]
            slope = (math.log10(b0) - math.log10(ber_below)) / (v0 - below)
        else:
            slope = 0.0
        return float(b0 * 10 ** (slope * (self.voltage - v0)))

    def sample(self, stored: Stored, rng: np.random.Generator) -> Stuck:
        """Draw the failing cells of one tensor on one die, a superset of those at any higher voltage.

        All cells that fail at the table's lowest voltage are drawn with their thresholds, whatever the
        voltage is; those under ``ber(V)`` are kept.
        """
        bits = stored.format.bits
        worst = max(ber for _, ber in self.table)
        cells = stored.values.size * bits
        positions = distinct(rng, cells, int(rng.binomial(cells, worst)))
        threshold = rng.random(positions.size) * worst
        ones = rng.random(positions.size) < self.p_flip_0to1
        failing = threshold < self.ber()
        indices, masks = gather(positions[failing], bits)
        high, high_masks = gather(positions[failing & ones], bits)
        values = np.zeros_like(masks)
        values[np.searchsorted(indices, high)] = high_masks
        return Stuck(indices=indices, masks=masks, bits=values)

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the change of one tensor: a cell counts only if it reads other than what it stores."""
        ber = self.ber()
        ones = stored_bits(stored.format, stored.values)
        rates = np.where(ones, ber * (1 - self.p_flip_0to1), ber * self.p_flip_0to1)
        return bit_errors(
            mechanism=self.kind,
            scope=stored.site.name,
            sizes=flip_sizes(stored.format, stored.values),
            rates=rates,
            elements=stored.values.size,
            p=p,
            confidence=confidence,
            tensor=(stored.format, stored.values),
        )
