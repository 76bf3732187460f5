"""The law of conductance drift, with a spread of exponents over devices.

References:
    .. [Nandakumar2019] S. R. Nandakumar et al. Phase-change memory models for deep learning training and
       inference. ICECS 2019: ``g(t) = g(t0) (t/t0)^-ν`` and the fits of ν's mean and spread.
    .. [aihwkit] IBM aihwkit 1.1.0, ``PCMLikeNoiseModel`` (fits in ``ln(g/g_max)``, ν = |normal|, time
       counted from t0) and ``GlobalDriftCompensation`` (ratio of the mean absolute read-outs).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from faultsim.budget.base import check_rate
from faultsim.budget.dense import folded_normal_mean
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.formats import ConductancePair

_SMALLEST = 1e-7
"""Relative conductance below which the fits stop, [aihwkit]_ (they are clipped long before)."""


class LogLine(NamedTuple):
    """``clip(a_ln ln(g/g_max) + b, min, max)``: how a drift parameter depends on the target conductance."""

    a_ln: float
    b: float
    min: float
    max: float

    def at(self, log_g: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the parameter at ``ln(g/g_max)``, same shape and dtype."""
        kind = log_g.dtype.type
        line = kind(self.a_ln) * log_g + kind(self.b)
        return np.asarray(np.clip(line, kind(self.min), kind(self.max)))


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
        compensation: ``none`` or ``global``.

    Raises:
        OptionError: If a parameter is out of range.
    """

    kind: ClassVar[str] = "drift"
    t0_s: float
    nu_mean: LogLine
    nu_std: LogLine
    compensation: Literal["none", "global"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("t0_s", self.t0_s, top=math.inf)
        if self.t0_s == 0 or self.nu_std.min < 0 or self.nu_mean.min < 0:
            raise OptionError("drift needs t0_s above 0, and nu_mean.min and nu_std.min at least 0")
        if self.compensation not in ("none", "global"):
            raise OptionError(f"unknown drift compensation {self.compensation!r}; use 'none' or 'global'")

    def log_time(self, t_s: float) -> float:
        """Return ``L = ln((t + t0) / t0)``, *t_s* seconds after programming."""
        return math.log1p(t_s / self.t0_s)

    def act(self, cells: Cells, pair: ConductancePair, rng: np.random.Generator, t_s: float) -> Cells:
        """Let the devices drift, one exponent a device; with compensation, set the gain."""
        log_g = self._log_relative(cells.target, pair)
        nu = rng.standard_normal(cells.now.shape, dtype=np.float32)
        nu *= self.nu_std.at(log_g)
        nu += self.nu_mean.at(log_g)
        np.abs(nu, out=nu)
        nu *= np.float32(-self.log_time(t_s))
        now = cells.now * np.exp(nu, out=nu)
        gain = cells.gain
        if self.compensation == "global":
            before = float(np.abs(cells.now[0] - cells.now[1]).sum(dtype=np.float64))
            after = float(np.abs(now[0] - now[1]).sum(dtype=np.float64))
            gain *= before / after if after > 0 else 1.0
        return Cells(cells.target, cells.programmed, now, gain)

    def spread(self, moments: Moments, pair: ConductancePair, t_s: float) -> Moments:
        """Multiply by the mean of ``(1 + t/t0)^-ν`` and spread by its second moment."""
        log_g = self._log_relative(moments.target, pair)
        mu, sigma = self.nu_mean.at(log_g), self.nu_std.at(log_g)
        first = _folded_exponential(mu, sigma, self.log_time(t_s))
        second = _folded_exponential(mu, sigma, 2 * self.log_time(t_s))
        mean = moments.mean * first
        var = np.maximum((moments.mean**2 + moments.var) * second - mean**2, 0.0)
        gain = moments.gain
        if self.compensation == "global":
            before = folded_normal_mean(moments.mean[0] - moments.mean[1], np.sqrt(moments.var.sum(axis=0)))
            after = folded_normal_mean(mean[0] - mean[1], np.sqrt(var.sum(axis=0)))
            gain *= float(before.sum() / after.sum()) if after.sum() > 0 else 1.0
        return Moments(moments.target, moments.programmed, mean, var, gain)

    def _log_relative(self, target: NDArray[np.floating], pair: ConductancePair) -> NDArray[np.floating]:
        kind = target.dtype.type
        return np.log(np.maximum(target * kind(1 / pair.g_max_uS), kind(_SMALLEST)))


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
