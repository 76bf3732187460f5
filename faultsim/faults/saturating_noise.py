"""The laws of a spread that grows with the conductance and saturates, as in charge-trap cells.

References:
    .. [Agrawal2022] V. Agrawal et al. Subthreshold operation of SONOS analog memory to enable accurate
       low-power neural network inference. IEDM 2022, 21.7, figs. 10(a) and 11(b): measured on 128K devices.
    .. [CrossSim] Sandia CrossSim 3.2.0, ``SONOS``: the fits ``A (1 - exp(-I/B))`` at 0 to 5 days, and of read
       noise.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import check_rate
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.faults.censored import floored
from faultsim.formats.conductance import ConductanceMapping

DAY_S = 86400.0


@register
@dataclass(frozen=True, kw_only=True)
class SaturatingNoise(AnalogLaw):
    """Each device is off by normal noise, ``sigma = A (1 - exp(-g/B))``, drawn once, [CrossSim]_.

    g is the conductance that the laws before left, so a drift of the mean goes first. A and B are linear in
    time between two rows; one row holds at all times; beyond the last of several it is an error, since
    nobody measured it. Conductances stop at 0.

    Attributes:
        rows: ``(days, A, B)``, days since programming, rising, A at least 0, B above 0.
        unit_uS: What one unit of A and B is in uS: 1 for uS, 0.01 for nA read at 0.1 V; ``None``: they are
            shares of the mapping's g_max.

    Raises:
        OptionError: If the rows do not rise or a parameter is out of range.
    """

    kind: ClassVar[str] = "saturating_noise"
    rows: tuple[tuple[float, float, float], ...]
    unit_uS: float | None = 1.0  # noqa: N815

    def __post_init__(self) -> None:
        super().__post_init__()
        days = [row[0] for row in self.rows]
        if not days or days != sorted(set(days)) or days[0] < 0:
            raise OptionError(f"saturating noise needs rows of rising days, at least 0, got days {days}")
        for _, a, b in self.rows:
            check_rate("A", a, top=math.inf)
            check_rate("B", b, top=math.inf)
            if b == 0:
                raise OptionError("B of saturating noise must be above 0, got 0")
        if self.unit_uS is not None and not 0 < self.unit_uS < math.inf:
            raise OptionError(f"unit_uS must be above 0 and finite, got {self.unit_uS:g}")

    def sigma_uS(  # noqa: N802
        self, g_uS: NDArray[np.floating], mapping: ConductanceMapping, t_s: float
    ) -> NDArray[np.floating]:
        """Return sigma at conductances *g_uS*, uS, same shape; 0 below 0.

        Raises:
            DeviceError: If *t_s* is beyond the last of several rows.
        """
        days, a, b = np.array(self.rows).T
        if len(days) > 1 and t_s > days[-1] * DAY_S * (1 + 1e-9):
            raise DeviceError(
                f"saturating noise is known up to {days[-1]:g} days after programming, got {t_s / DAY_S:g};"
                " ask for an earlier time or add a measurement"
            )
        kind = g_uS.dtype.type
        unit = mapping.g_max_uS if self.unit_uS is None else self.unit_uS
        a_now, b_now = (float(np.interp(t_s / DAY_S, days, column)) * unit for column in (a, b))
        sigma = np.asarray(np.expm1(g_uS * kind(-1 / b_now)))
        sigma *= kind(-a_now)
        return np.asarray(np.maximum(sigma, 0, out=sigma))

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Add the noise, one normal number a device."""
        noise = mapping.normals(rng, cells.now.shape)
        noise *= self.sigma_uS(cells.now, mapping, t_s)
        noise += cells.now
        np.maximum(noise, 0, out=noise)
        return cells._replace(now=noise) if self.transient else cells._replace(programmed=noise, now=noise)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Add the variance; the clip at 0 by the rectified normal's moments."""
        more = self.sigma_uS(moments.mean, mapping, t_s).astype(np.float64) ** 2
        mean, var = floored(moments.mean, moments.var, 0.0, more, clipped=moments.clipped)
        if self.transient:
            return moments._replace(mean=mean, var=var, clipped=True)
        heavy = np.divide(mean**2 + var, mean, out=np.zeros_like(mean), where=mean > 0)
        return moments._replace(programmed=heavy, mean=mean, var=var, clipped=True)


@register
@dataclass(frozen=True, kw_only=True)
class SaturatingReadNoise(SaturatingNoise):
    """The same noise drawn anew at every read, [Agrawal2022]_ fig. 11(b).

    `sample` gives one frozen read; `std` its standard deviation, for an engine that redraws it at every
    inference.
    """

    kind: ClassVar[str] = "saturating_read_noise"
    transient: ClassVar[bool] = True
