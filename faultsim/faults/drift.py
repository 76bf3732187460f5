"""The law of conductance drift, with a spread of exponents over devices.

References:
    .. [Nandakumar2019] S. R. Nandakumar et al. Phase-change memory models for deep learning training and
       inference. ICECS 2019: ``g(t) = g(t0) (t/t0)^-ν`` and the fits of ν's mean and spread.
    .. [aihwkit] IBM aihwkit 1.1.0, ``PCMLikeNoiseModel`` (fits in ``ln(g/g_max)``, ν = |normal|, time
       counted from t0), ``GlobalDriftCompensation`` and ``PerColumnDriftCompensation`` (ratio of the mean
       absolute read-outs, of the tile or of each column).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from faultsim.budget.base import check_rate
from faultsim.budget.dense import folded_normal_mean
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.faults.curves import Curve, Relative
from faultsim.faults.curves import LogLine as LogLine
from faultsim.formats.conductance import ConductanceMapping

_SMALLEST = 1e-7
"""Relative conductance below which the fits stop, [aihwkit]_ (they are clipped long before)."""


@register
@dataclass(frozen=True, kw_only=True)
class Drift(AnalogLaw):
    """Conductances fall as ``g (1 + t/t0)^-ν``, each device with an exponent ν of its own, [Nandakumar2019]_.

    ν is ``|N(nu_mean, nu_std)|``, drawn once a device. Time counts from the end of programming, which is
    t0 on the fit's own clock ([aihwkit]_): the base is ``(t + t0) / t0``. With global compensation the
    tensor's output is multiplied by the ratio of its summed absolute weights after programming and now:
    the common gain goes, the spread between devices stays.

    Attributes:
        t0_s: Reference time of the fit, seconds, above 0.
        nu_mean: Mean exponent as a function of the target conductance.
        nu_std: Its standard deviation over devices, likewise.
        compensation: ``none``, ``global`` or ``per_column``.

    Raises:
        OptionError: If a parameter is out of range.
    """

    kind: ClassVar[str] = "drift"
    t0_s: float
    nu_mean: Curve
    nu_std: Curve
    compensation: Literal["none", "global", "per_column"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("t0_s", self.t0_s, top=math.inf)
        if self.t0_s == 0 or not (self.nu_std.lowest() >= 0 and self.nu_mean.lowest() >= 0):
            raise OptionError("drift needs t0_s above 0, and nu_mean and nu_std nowhere below 0")
        if self.compensation not in ("none", "global", "per_column"):
            raise OptionError(f"unknown drift compensation {self.compensation!r}; use 'none', 'global' or 'per_column'")

    def log_time(self, t_s: float) -> float:
        """Return ``L = ln((t + t0) / t0)``, *t_s* seconds after programming."""
        return math.log1p(t_s / self.t0_s)

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Let the devices drift, one exponent a device; with compensation, set the gain."""
        g = Relative(cells.target, mapping.g_max_uS, _SMALLEST)
        nu = mapping.normals(rng, cells.now.shape)
        nu *= self.nu_std.at(g)
        nu += self.nu_mean.at(g)
        np.abs(nu, out=nu)
        nu *= np.float32(-self.log_time(t_s))
        now = np.exp(nu, out=nu)
        now *= cells.now
        gain = cells.gain
        if self.compensation != "none":
            before, after = (np.abs(mapping.combine(side)) for side in (cells.now, now))
            gain = gain * self._ratio(before, after, cells.channel_axis)
        return cells._replace(now=now, gain=gain)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Multiply by the first three moments of ``(1 + t/t0)^-ν``."""
        g = Relative(moments.target, mapping.g_max_uS, _SMALLEST)
        mu, sigma = self.nu_mean.at(g), self.nu_std.at(g)
        first, second, third = (_folded_exponential(mu, sigma, k * self.log_time(t_s)) for k in (1, 2, 3))
        mean = moments.mean * first
        var = np.maximum((moments.mean**2 + moments.var) * second - mean**2, 0.0)
        gain = moments.gain
        if self.compensation != "none":
            before, after = (
                folded_normal_mean(mapping.combine(m), np.sqrt(mapping.weigh(v, 2)))
                for m, v in ((moments.mean, moments.var), (mean, var))
            )
            gain = gain * self._ratio(before, after, moments.channel_axis)
        cube = moments.mean**3 + 3 * moments.mean * moments.var + moments.third
        skew = np.where(var > 0, cube * third - 3 * mean * var - mean**3, 0.0)
        return moments._replace(mean=mean, var=var, gain=gain, third=skew)

    def _ratio(
        self, before: NDArray[np.floating], after: NDArray[np.floating], channel_axis: int
    ) -> float | NDArray[np.float64]:
        """Return what brings the summed magnitudes back, 1 where nothing is left to amplify."""
        if self.compensation == "global" or before.ndim == 0:
            total = float(after.sum(dtype=np.float64))
            return float(before.sum(dtype=np.float64)) / total if total > 0 else 1.0
        axes = tuple(axis for axis in range(before.ndim) if axis != channel_axis % before.ndim)
        first, last = (side.sum(axis=axes, dtype=np.float64, keepdims=True) for side in (before, after))
        return np.asarray(np.divide(first, last, out=np.ones_like(first), where=last > 0), np.float64)


def _folded_exponential(mean: NDArray[np.floating], std: NDArray[np.floating], rate: float) -> NDArray[np.float64]:
    """``E[exp(-rate |N(mean, std²)|)]``, two tilted half-normals; logarithms keep them finite."""
    if rate == 0:
        return np.ones(mean.shape)
    s = np.maximum(np.asarray(std, np.float64), 1e-12)
    m = np.asarray(mean, np.float64)
    tilt = (s * rate) ** 2 / 2
    right = np.exp(-m * rate + tilt + special.log_ndtr(m / s - s * rate))
    left = np.exp(m * rate + tilt + special.log_ndtr(-m / s - s * rate))
    return np.asarray(right + left)
