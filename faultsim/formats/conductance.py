"""Analog storage: a weight as the difference of two conductances. Noise laws are not here.

References:
    .. [Joshi2020] V. Joshi et al. Accurate deep neural network inference using computational phase-change
       memory. Nature Communications 11:2473, 2020: a weight is the difference of two devices' conductances.
    .. [aihwkit] IBM aihwkit 1.1.0, ``SinglePairConductanceConverter``: the idle device of a pair rests at
       g_min.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.errors import DeviceError, OptionError
from faultsim.formats.base import NumberFormat, Values, Words


class Conductances(NamedTuple):
    """The conductances of a differential pair in uS, each of the tensor's shape."""

    g_plus: NDArray[np.float32]
    g_minus: NDArray[np.float32]


@dataclass(frozen=True, eq=False, init=False)
class ConductancePair(NumberFormat):
    """A weight held by two devices: ``w = w_max (g_plus - g_minus) / (g_max - g_min)``, [Joshi2020]_.

    The device of the weight's sign carries ``g_min + |w| / w_max (g_max - g_min)``, the other rests at g_min
    ([aihwkit]_). There are no stored bits: `bits`, `encode` and `decode` raise `DeviceError`, so a bit law
    on an analog device is an error and not a silent nothing.

    Attributes:
        g_min_uS: Smallest conductance, uS, at least 0.
        g_max_uS: Largest conductance, uS, above g_min.
        w_max: Magnitude that g_max carries, value units, positive: a scalar, or an array broadcastable to
            the tensor (per channel, per tile). Larger weights saturate.

    Raises:
        OptionError: If the range is empty or w_max is not positive.

    Examples:
        >>> pair = ConductancePair(g_min_uS=0.0, g_max_uS=40.0, w_max=0.5)
        >>> g = pair.to_conductances(np.array([0.25, -0.5], np.float32))
        >>> g.g_plus.tolist(), g.g_minus.tolist()
        ([20.0, 0.0], [0.0, 40.0])
    """

    g_min_uS: float  # noqa: N815  (micro-siemens is spelled so)
    g_max_uS: float  # noqa: N815
    w_max: float | NDArray[np.float64]

    def __init__(self, g_min_uS: float, g_max_uS: float, w_max: ArrayLike = 1.0) -> None:
        if not 0 <= g_min_uS < g_max_uS < np.inf:
            raise OptionError(f"conductances need 0 <= g_min < g_max uS, got g_min {g_min_uS:g} and g_max {g_max_uS:g}")
        scale = np.array(w_max, dtype=np.float64)
        if not (np.all(np.isfinite(scale)) and np.all(scale > 0)):
            raise OptionError(f"w_max must be finite and positive, got {scale.min():g}; a zero channel takes 1")
        scale.flags.writeable = False
        object.__setattr__(self, "g_min_uS", float(g_min_uS))
        object.__setattr__(self, "g_max_uS", float(g_max_uS))
        object.__setattr__(self, "w_max", float(scale) if scale.ndim == 0 else scale)

    @property
    def name(self) -> str:
        """``conductance_pair``."""
        return "conductance_pair"

    @property
    def bits(self) -> int:
        """Not there: raises `DeviceError`."""
        raise DeviceError("a conductance pair stores no bits; use an analog law, or a digital storage format")

    @property
    def step(self) -> NDArray[np.float64]:
        """Value per uS of difference, ``w_max / (g_max - g_min)``, broadcastable to the tensor."""
        return np.asarray(self.w_max, dtype=np.float64) / (self.g_max_uS - self.g_min_uS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConductancePair) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return (self.g_min_uS, self.g_max_uS, np.shape(self.w_max), np.asarray(self.w_max).tobytes())

    def to_conductances(self, values: Values) -> Conductances:
        """Return the target conductances of *values* in uS, each of its shape, saturating at g_max."""
        span = self.g_max_uS - self.g_min_uS
        tops = np.asarray(self.w_max)
        # Below float32's normal range a scale has too few digits left to divide by.
        kind = np.float32 if np.all(tops > 1e-30) else np.float64
        scaled = (np.asarray(values) / tops.astype(kind)).astype(np.float32) * np.float32(span)
        low, top = np.float32(self.g_min_uS), np.float32(span)
        plus = np.clip(scaled, np.float32(0), top) + low
        minus = np.clip(-scaled, np.float32(0), top) + low
        return Conductances(plus.astype(np.float32, copy=False), minus.astype(np.float32, copy=False))

    def from_conductances(self, g_plus: NDArray[Any], g_minus: NDArray[Any]) -> NDArray[np.float32]:
        """Return the weights of a pair of conductances (uS, the tensor's shape) in value units, float32."""
        weights: NDArray[np.float32] = ((np.asarray(g_plus) - np.asarray(g_minus)) * self.step).astype(np.float32)
        return weights

    def encode(self, values: Values) -> Words:
        """Not possible: raises `DeviceError`."""
        raise DeviceError("a conductance pair has no words to encode to; use to_conductances")

    def decode(self, words: Words) -> Values:
        """Not possible: raises `DeviceError`."""
        raise DeviceError("a conductance pair has no words to decode from; use from_conductances")
