"""The law of programming and relaxation noise of a conductance.

References:
    .. [Joshi2020] V. Joshi et al. Nature Communications 11:2473, 2020, methods: programming noise of PCM,
       a polynomial in the target conductance.
    .. [Wan2022] W. Wan et al. A compute-in-memory chip based on resistive random-access memory. Nature
       608, 2022, extended data fig. 3: relaxation of HfOx ReRAM after 1 s, 1 day, 2 days.
    .. [aihwkit] IBM aihwkit 1.1.0, ``PCMLikeNoiseModel``, ``ReRamWan2022NoiseModel``: the polynomial fits.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import DeviceError, OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.faults.censored import rectified
from faultsim.faults.curves import horner
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class ConductanceNoise(AnalogLaw):
    """Each device misses its target by normal noise, ``sigma = sum_i c_i (g / g_max)**i`` uS, [aihwkit]_.

    Every device is noisy, the idle one of a pair too. Conductances below 0 are read as 0, which shifts
    the mean of small ones upwards. Sigma is linear in ln t between two given times; before the first time
    it is the first's; beyond the last it is an error, since nobody measured it.

    Attributes:
        sigma_poly: Coefficients ``c_0, c_1, …`` in uS, one tuple for each of *times_s* (or a single one).
        times_s: Seconds since programming that the tuples hold at, rising, above 0; empty for a single one.
        g_ref_uS: ``g_max`` that the coefficients were fitted at; another range scales sigma with it.
            ``None``: the mapping's own.
        clip: Whether conductances stop at 0.

    Raises:
        OptionError: If coefficients and times do not fit each other.
    """

    kind: ClassVar[str] = "conductance_noise"
    sigma_poly: tuple[tuple[float, ...], ...]
    times_s: tuple[float, ...] = ()
    g_ref_uS: float | None = None  # noqa: N815  (micro-siemens is spelled so)
    clip: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigma_poly or not all(self.sigma_poly):
            raise OptionError("sigma_poly needs at least one tuple of coefficients, none of them empty")
        if len(self.times_s) != (len(self.sigma_poly) if self.times_s or len(self.sigma_poly) > 1 else 0):
            raise OptionError(
                f"sigma_poly has {len(self.sigma_poly)} tuples and times_s {len(self.times_s)}; give one each"
            )
        if list(self.times_s) != sorted(set(self.times_s)) or any(t <= 0 for t in self.times_s):
            raise OptionError(f"times_s must rise and be above 0, got {self.times_s}")
        if self.g_ref_uS is not None and not self.g_ref_uS > 0:
            raise OptionError(f"g_ref_uS must be above 0, got {self.g_ref_uS:g}")

    def coefficients(self, t_s: float) -> tuple[float, ...]:
        """Return the polynomial's coefficients *t_s* seconds after programming, uS.

        Raises:
            DeviceError: If *t_s* is beyond the last time that the noise was measured at.
        """
        if len(self.sigma_poly) == 1 and not self.times_s:
            return self.sigma_poly[0]
        if t_s > self.times_s[-1] * (1 + 1e-9):
            raise DeviceError(
                f"conductance noise is known up to {self.times_s[-1]:g} s after programming, got {t_s:g} s; "
                "ask for an earlier time or add a measurement"
            )
        width = max(map(len, self.sigma_poly))
        table = np.array([row + (0.0,) * (width - len(row)) for row in self.sigma_poly])
        at = math.log(max(t_s, self.times_s[0]))
        return tuple(float(np.interp(at, np.log(self.times_s), column)) for column in table.T)

    def sigma_uS(  # noqa: N802
        self, g_uS: NDArray[np.floating], mapping: ConductanceMapping, t_s: float
    ) -> NDArray[np.floating]:
        """Return sigma at target conductances *g_uS*, uS, same shape; a negative polynomial counts as 0."""
        scale = 1.0 if self.g_ref_uS is None else mapping.g_max_uS / self.g_ref_uS
        sigma = horner(self.coefficients(t_s), g_uS / g_uS.dtype.type(mapping.g_max_uS))
        if scale != 1:
            sigma *= g_uS.dtype.type(scale)
        return np.asarray(np.maximum(sigma, 0, out=sigma))

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Add the noise, one normal number a device."""
        noise = mapping.normals(rng, cells.now.shape)
        noise *= self.sigma_uS(cells.target, mapping, t_s)
        noise += cells.now
        if self.clip:
            np.maximum(noise, 0, out=noise)
        return cells._replace(programmed=noise, now=noise)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Add the variance; the clip at 0 by the rectified normal's moments."""
        var = moments.var + self.sigma_uS(moments.target, mapping, t_s).astype(np.float64) ** 2
        mean = moments.mean
        if self.clip:
            mean, var = rectified(mean, var)
        heavy = np.divide(mean**2 + var, mean, out=np.zeros_like(mean), where=mean > 0)
        return moments._replace(programmed=heavy, mean=mean, var=var, clipped=self.clip)
