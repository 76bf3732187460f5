"""The law of 1/f read noise.

References:
    .. [Nandakumar2019] S. R. Nandakumar et al. Phase-change memory models for deep learning training and
       inference. ICECS 2019: 1/f noise integrated from programming to the read.
    .. [aihwkit] IBM aihwkit 1.1.0, ``PCMLikeNoiseModel.apply_drift_noise_to_conductance``;
       ``HermesNoiseModel`` with other curves of q_s.
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
from faultsim.faults.censored import rectified
from faultsim.faults.curves import Curve, Relative
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class ReadNoise1f(AnalogLaw):
    """A read finds ``g (1 + q_s sqrt(ln((t + t_read) / (2 t_read))) N)``, [Nandakumar2019]_, [aihwkit]_.

    ``q_s = min(c (g/g_max)**exponent, max)`` at the programmed conductance, or *curve* there; conductances
    stop at 0. On the fit's clock t is the time since programming plus *t0_s*. `sample` gives one frozen read; `std` its
    standard deviation, for an engine that redraws it at every inference.

    Attributes:
        t_read_s: Duration of a read, seconds, above 0.
        c: Relative noise at g_max, at least 0.
        exponent: Power of the relative conductance, at most 0.
        max: Cap of q_s, at least 0.
        curve: Another q_s, at least 0, in place of the three before, which then stay 0.
        t0_s: The fit's clock at the end of programming, seconds; 20 in [aihwkit]_.

    Raises:
        OptionError: If a parameter is out of range.
    """

    kind: ClassVar[str] = "read_noise_1f"
    transient: ClassVar[bool] = True
    t_read_s: float
    c: float = 0.0
    exponent: float = 0.0
    max: float = 0.0
    curve: Curve | None = None
    t0_s: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("t_read_s", "c", "max", "t0_s"):
            check_rate(name, getattr(self, name), top=math.inf)
        if self.t_read_s == 0 or self.exponent > 0:
            raise OptionError("1/f read noise needs t_read_s above 0 and an exponent of at most 0")
        if self.curve is not None and not (self.c == self.exponent == self.max == 0 and self.curve.lowest() >= 0):
            raise OptionError("a curve of 1/f read noise must be at least 0 and takes the place of c, exponent and max")

    def relative(self, g_uS: NDArray[np.floating], mapping: ConductanceMapping, t_s: float) -> NDArray[np.floating]:
        """Return the relative noise of a read at programmed conductances *g_uS*, same shape."""
        kind = g_uS.dtype.type
        reads = (t_s + self.t0_s + self.t_read_s) / (2 * self.t_read_s)
        time = math.sqrt(math.log(reads)) if reads > 1 else 0.0
        g = Relative(g_uS, mapping.g_max_uS, 1e-12)
        if self.curve is not None:
            return self.curve.at(g) * kind(time)
        q = kind(self.exponent) * g.log
        np.exp(q, out=q)
        q *= kind(self.c)
        np.minimum(q, kind(self.max), out=q)
        q *= kind(time)
        return q

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Read once, one normal number a device."""
        now = mapping.normals(rng, cells.now.shape)
        now *= self.relative(cells.programmed, mapping, t_s)
        now += np.float32(1)
        now *= cells.now
        np.maximum(now, 0, out=now)
        return cells._replace(now=now)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Multiply by the rectified normal factor of a read, its spread that at `Moments.programmed`."""
        share = self.relative(moments.programmed, mapping, t_s).astype(np.float64) ** 2
        first, spread = rectified(np.ones_like(share), share)
        mean = moments.mean * first
        var = (moments.mean**2 + moments.var) * (spread + first**2) - mean**2
        return moments._replace(mean=mean, var=var, third=moments.third * first**3)
