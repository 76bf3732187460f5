"""The law of read noise with one relative spread.

References:
    .. [aihwkit] IBM aihwkit 1.1.0, ``ReRamWan2022NoiseModel``: "short-term read noise (about 1 %)", to be
       set as ``forward.w_noise = 0.01`` of type ADDITIVE_CONSTANT: normal, on the weight, relative to its
       range.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from faultsim.budget.base import check_rate
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class ReadNoiseRelative(AnalogLaw):
    """A read is off by a normal share *sigma* of the range, or of the conductance.

    Relative to ``g_max`` it is stated on a differential pair, as in [aihwkit]_: a pair's weight has the
    standard deviation ``sigma * w_max``, half of the variance from each device. A device has the same noise
    in any other mapping: two pairs in parallel read ``sqrt(2)`` better, a single device that carries both
    signs ``sqrt(2)`` worse. Relative to ``g`` each device has ``sigma * g`` of its own. Nothing is clipped:
    it is noise of the read and not of the device. `sample` gives one frozen read; `std` its standard
    deviation, for an engine that redraws it at every inference.

    Attributes:
        sigma: Relative standard deviation, at least 0.
        relative_to: ``g_max`` or ``g``.

    Raises:
        OptionError: If a parameter is out of range.
    """

    kind: ClassVar[str] = "read_noise_relative"
    transient: ClassVar[bool] = True
    sigma: float
    relative_to: Literal["g_max", "g"] = "g_max"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("sigma", self.sigma, top=math.inf)
        if self.relative_to not in ("g_max", "g"):
            raise OptionError(f"read noise is relative to 'g_max' or 'g', got {self.relative_to!r}")

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Read once, one normal number a device."""
        noise = mapping.normals(rng, cells.now.shape)
        if self.relative_to == "g":
            noise *= cells.now
            noise *= np.float32(self.sigma)
        else:
            noise *= np.float32(self._device_sigma(mapping))
        noise += cells.now
        return cells._replace(now=noise)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Add the read's variance."""
        if self.relative_to == "g":
            more = self.sigma**2 * (moments.mean**2 + moments.var)
        else:
            more = np.full_like(moments.var, self._device_sigma(mapping) ** 2)
        return moments._replace(var=moments.var + more)

    def _device_sigma(self, mapping: ConductanceMapping) -> float:
        return self.sigma * mapping.span_uS / math.sqrt(2)
