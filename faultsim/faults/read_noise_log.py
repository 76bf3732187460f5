"""The law of a read noise that grows with the logarithm of the conductance.

References:
    .. [aihwkit] IBM aihwkit 1.1.0, ``ReRamCMONoiseModel.apply_drift_noise_to_conductance``: ``K log10(g)
       sqrt(ln((t + t_read) / (2 t_read)))`` uS, then stopped at both ends of the range.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import check_rate
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.faults.censored import censored
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class ReadNoiseLog(AnalogLaw):
    """A read finds ``g + K log10(g / 1 uS) sqrt(ln((t + t_read) / (2 t_read))) N`` uS, [aihwkit]_.

    What is read stays between g_min and g_max: weights at the ends of the range are pulled inwards. Below
    1 uS, where the fit has no meaning, a read is exact. `sample` gives one frozen read; `std` its standard
    deviation, for an engine that redraws it at every inference.

    Attributes:
        k_uS: K, uS, at least 0.
        t_read_s: Duration of a read, seconds, above 0.

    Raises:
        OptionError: If a parameter is out of range.
    """

    kind: ClassVar[str] = "read_noise_log"
    transient: ClassVar[bool] = True
    bounded: ClassVar[bool] = True
    k_uS: float  # noqa: N815
    t_read_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("k_uS", self.k_uS, top=math.inf)
        check_rate("t_read_s", self.t_read_s, top=math.inf)
        if self.t_read_s == 0:
            raise OptionError("read noise in the logarithm of the conductance needs t_read_s above 0")

    def sigma_uS(self, g_uS: NDArray[np.floating], t_s: float) -> NDArray[np.floating]:  # noqa: N802
        """Return the standard deviation of a read at conductances *g_uS*, uS, same shape."""
        kind = g_uS.dtype.type
        reads = (t_s + self.t_read_s) / (2 * self.t_read_s)
        time = math.sqrt(math.log(reads)) if reads > 1 else 0.0
        sigma = np.asarray(np.log10(np.maximum(g_uS, kind(1))))
        sigma *= kind(self.k_uS * time)
        return sigma

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Read once, one normal number a device."""
        now = mapping.normals(rng, cells.now.shape)
        now *= self.sigma_uS(cells.now, t_s)
        now += cells.now
        np.clip(now, np.float32(mapping.g_min_uS), np.float32(mapping.g_max_uS), out=now)
        return cells._replace(now=now)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Add the read's variance; the range by the censored normal's moments."""
        var = moments.var + self.sigma_uS(moments.mean, t_s) ** 2
        clipped = censored(moments.mean, var, mapping.g_min_uS, mapping.g_max_uS)
        return moments._replace(mean=clipped.mean, var=clipped.var)
