"""The law of conductances that move with the logarithm of time.

References:
    .. [aihwkit] IBM aihwkit 1.1.0, ``ReRamCMONoiseModel.apply_drift_noise_to_conductance``: relaxation of
       CMO/HfOx ReRAM, mean and standard deviation of the shift linear in ln t, the same at every conductance.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from faultsim.budget.base import check_rate
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.faults.censored import floored, rectified_third
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class LogDrift(AnalogLaw):
    """A device moves to ``g + rate_mean L + (start_std + rate_std L) N``, L the logarithm of time, N drawn once.

    Relaxation of filaments or loss of trapped charge: a shift that does not depend on the conductance.
    ``L = ln(1 + t/t0)``, or ``ln(t/t0)`` from t0 on where *clock* is ``from_t0`` (the form of [aihwkit]_'s
    CMO/HfOx fit with t0 = 1 s). For other memories the form is generic and the rates are the user's.
    Conductances stop at 0.

    Attributes:
        t0_s: Reference time, seconds, above 0.
        rate_mean: Mean shift for each factor e in time, negative for a loss.
        rate_std: Its standard deviation over devices, at least 0.
        start_std: Standard deviation that is there at ``L = 0`` already, at least 0.
        unit: ``uS``, or ``g_max`` for shares of the mapping's g_max.
        clock: ``since_programming`` or ``from_t0``.

    Raises:
        OptionError: If a parameter is out of range.
    """

    kind: ClassVar[str] = "log_drift"
    t0_s: float
    rate_mean: float
    rate_std: float
    start_std: float = 0.0
    unit: Literal["uS", "g_max"] = "uS"
    clock: Literal["since_programming", "from_t0"] = "since_programming"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("t0_s", "rate_std", "start_std"):
            check_rate(name, getattr(self, name), top=math.inf)
        if self.t0_s == 0 or not math.isfinite(self.rate_mean):
            raise OptionError(
                f"log drift needs t0_s above 0 and a finite rate_mean, got {self.t0_s:g} s and {self.rate_mean:g}"
            )
        if self.unit not in ("uS", "g_max"):
            raise OptionError(f"log drift is in 'uS' or shares of 'g_max', got {self.unit!r}")
        if self.clock not in ("since_programming", "from_t0"):
            raise OptionError(f"unknown clock {self.clock!r} of log drift; use 'since_programming' or 'from_t0'")

    def log_time(self, t_s: float) -> float:
        """Return L, *t_s* seconds after programming."""
        if self.clock == "from_t0":
            return math.log(max(t_s / self.t0_s, 1.0))
        return math.log1p(t_s / self.t0_s)

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Let the devices move, one normal number a device."""
        mean, std = self._shift(mapping, t_s)
        now = mapping.normals(rng, cells.now.shape)
        now *= np.float32(std)
        now += np.float32(mean)
        now += cells.now
        np.maximum(now, 0, out=now)
        return cells._replace(now=now)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Shift the mean and add the variance; the clip at 0 by the rectified normal's moments."""
        mean, std = self._shift(mapping, t_s)
        moved = floored(moments.mean, moments.var, mean, std**2, clipped=moments.clipped)
        third = moments.third + rectified_third(moments.mean + mean, moments.var + std**2)
        return moments._replace(mean=moved.mean, var=moved.var, third=third, clipped=True)

    def _shift(self, mapping: ConductanceMapping, t_s: float) -> tuple[float, float]:
        unit = mapping.g_max_uS if self.unit == "g_max" else 1.0
        log_time = self.log_time(t_s)
        return self.rate_mean * log_time * unit, (self.start_std + self.rate_std * log_time) * unit
