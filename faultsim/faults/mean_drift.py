"""The law of a drift of the mean that was measured at some times, without a spread of its own.

References:
    .. [Agrawal2022] V. Agrawal et al. Subthreshold operation of SONOS analog memory to enable accurate
       low-power neural network inference. IEDM 2022, 21.7, fig. 10(b).
    .. [CrossSim] Sandia CrossSim 3.2.0, ``SONOS._interpolate_drift``: polynomials in the programmed current
       at 1 to 5 days, coefficients linear in time in between.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import DeviceError, OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.faults.curves import horner
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class MeanDrift(AnalogLaw):
    """All devices of a conductance g move together by ``sum_i c_i(t) g**i``, [CrossSim]_.

    Nothing is drawn. The coefficients are linear in time between two rows and 0 at time 0; beyond the last
    row it is an error, since nobody measured it. The result may be below 0 where a fit is: a law of noise
    that stops at 0 belongs behind it.

    Attributes:
        times_s: Seconds since programming of the rows, rising, above 0.
        shifts: Coefficients ``c_0, c_1, …`` of each row, in powers of the unit.
        unit_uS: What one unit of conductance is in uS: 1 for uS, 0.01 for nA read at 0.1 V.

    Raises:
        OptionError: If times and rows do not fit each other.
    """

    kind: ClassVar[str] = "mean_drift"
    times_s: tuple[float, ...]
    shifts: tuple[tuple[float, ...], ...]
    unit_uS: float = 1.0  # noqa: N815

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shifts or not all(self.shifts) or len(self.shifts) != len(self.times_s):
            raise OptionError(
                f"mean drift needs coefficients for each of its times, got {len(self.shifts)} rows"
                f" and {len(self.times_s)} times"
            )
        if list(self.times_s) != sorted(set(self.times_s)) or self.times_s[0] <= 0:
            raise OptionError(f"times_s must rise and be above 0, got {self.times_s}")
        if not 0 < self.unit_uS < math.inf:
            raise OptionError(f"unit_uS must be above 0 and finite, got {self.unit_uS:g}")

    def shift_uS(self, g_uS: NDArray[np.floating], t_s: float) -> NDArray[np.floating]:  # noqa: N802
        """Return how far conductances *g_uS* have moved after *t_s* seconds, uS, same shape and dtype.

        Raises:
            DeviceError: If *t_s* is beyond the last row.
        """
        if t_s > self.times_s[-1] * (1 + 1e-9):
            raise DeviceError(
                f"mean drift is known up to {self.times_s[-1]:g} s after programming, got {t_s:g} s;"
                " ask for an earlier time or add a measurement"
            )
        width = max(map(len, self.shifts))
        table = np.array([(0.0,) * width, *(row + (0.0,) * (width - len(row)) for row in self.shifts)])
        now = [float(np.interp(t_s, (0.0, *self.times_s), column)) for column in table.T]
        # Powers of nanoamperes leave float32's range.
        moved = horner(now, g_uS.astype(np.float64) / self.unit_uS) * self.unit_uS
        return moved.astype(g_uS.dtype, copy=False)

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Move the devices."""
        return cells._replace(now=cells.now + self.shift_uS(cells.now, t_s))

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Move the mean; the variance stays, as the shift is flat over a device's spread."""
        return moments._replace(mean=moments.mean + self.shift_uS(moments.mean, t_s))
