"""Analog storage: what a mapping of weights to conductances is, and the differential pair. No noise laws here.

References:
    .. [Joshi2020] V. Joshi et al. Accurate deep neural network inference using computational phase-change
       memory. Nature Communications 11:2473, 2020: a weight is the difference of two devices' conductances.
    .. [aihwkit] IBM aihwkit 1.1.0, ``SinglePairConductanceConverter``: the idle device of a pair rests at
       g_min.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultsim.errors import DeviceError, OptionError
from faultsim.formats.base import NumberFormat, Values, Words

Real = TypeVar("Real", np.float32, np.float64)


class Conductances(NamedTuple):
    """The conductances of a differential pair in uS, each of the tensor's shape."""

    g_plus: NDArray[np.float32]
    g_minus: NDArray[np.float32]


class ConductanceMapping(NumberFormat):
    """A weight as a fixed linear combination of the conductances of `devices` cells.

    ``w = step * (sum_d coefficients[d] * g[d] - zero)``: laws act on cells, an array of shape
    ``(devices, *shape)`` in uS, and `combine` brings them back. There are no stored bits: `bits`, `encode`
    and `decode` raise `DeviceError`, so a bit law on an analog device is an error and not a silent nothing.

    Attributes:
        g_min_uS: Smallest conductance, uS, at least 0.
        g_max_uS: Largest conductance, uS, above g_min.
        w_max: Magnitude that the range carries, value units, positive: a scalar, or an array broadcastable
            to the tensor (per channel, per tile). Larger weights saturate.
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
    @abstractmethod
    def coefficients(self) -> tuple[float, ...]:
        """The factor of each device's conductance in the weight, dimensionless."""

    @property
    @abstractmethod
    def step(self) -> NDArray[np.float64]:
        """Value per uS of combined conductance, broadcastable to the tensor."""

    @abstractmethod
    def to_cells(self, values: Values) -> NDArray[np.float32]:
        """Return the target conductances of *values* in uS, ``(devices, *shape)``, saturating at the range."""

    @property
    def devices(self) -> int:
        """Devices of one weight, a shared reference counted in."""
        return len(self.coefficients)

    @property
    def span_uS(self) -> float:  # noqa: N802
        """``g_max - g_min``, uS."""
        return self.g_max_uS - self.g_min_uS

    @property
    def bits(self) -> int:
        """Not there: raises `DeviceError`."""
        raise DeviceError(f"a {self.name} mapping stores no bits; use an analog law, or a digital storage format")

    def combine(self, cells: NDArray[Real]) -> NDArray[Real]:
        """Return ``sum_d coefficients[d] * cells[d] - zero`` in uS: *cells* without its first axis, same dtype."""
        kind = cells.dtype.type
        total: NDArray[Real] = kind(self.coefficients[0]) * cells[0]
        for factor, cell in zip(self.coefficients[1:], cells[1:], strict=True):
            total += kind(factor) * cell
        return total

    def weigh(self, moments: NDArray[np.float64], power: int) -> NDArray[np.float64]:
        """Return ``sum_d coefficients[d]**power * moments[d]``: cumulants of independent devices add so."""
        total = np.zeros(moments.shape[1:])
        for factor, moment in zip(self.coefficients, moments, strict=True):
            total += factor**power * moment
        return total

    def from_cells(self, cells: NDArray[Any]) -> NDArray[np.float32]:
        """Return the weights of *cells* (uS, ``(devices, *shape)``) in value units, float32."""
        weights: NDArray[np.float32] = (self.combine(np.asarray(cells)) * self.step).astype(np.float32)
        return weights

    def share(self, draws: NDArray[Any]) -> NDArray[Any]:
        """Give all weights that share a device the same entry of *draws* ``(devices, *shape)``, in place."""
        return draws

    def groups(self, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
        """Return which shared device (the last of `devices`) each weight has, or ``None`` where none is shared."""
        return None

    def normals(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw one standard normal number a device for cells of *shape* ``(devices, *tensor)``."""
        drawn: NDArray[np.float32] = self.share(rng.standard_normal(shape, dtype=np.float32))
        return drawn

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, ConductanceMapping) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return (self.g_min_uS, self.g_max_uS, np.shape(self.w_max), np.asarray(self.w_max).tobytes())

    def _scaled(self, values: Values) -> NDArray[np.float32]:
        """Return ``values / w_max * (g_max - g_min)`` in uS, not yet saturated."""
        tops = np.asarray(self.w_max)
        # Below float32's normal range a scale has too few digits left to divide by.
        kind = np.float32 if np.all(tops > 1e-30) else np.float64
        scaled: NDArray[np.float32] = np.asarray(np.asarray(values) / tops.astype(kind), np.float32)
        scaled *= np.float32(self.span_uS)
        return scaled

    def encode(self, values: Values) -> Words:
        """Not possible: raises `DeviceError`."""
        raise DeviceError(f"a {self.name} mapping has no words to encode to; use to_cells")

    def decode(self, words: Words) -> Values:
        """Not possible: raises `DeviceError`."""
        raise DeviceError(f"a {self.name} mapping has no words to decode from; use from_cells")


@dataclass(frozen=True, eq=False, init=False)
class ConductancePair(ConductanceMapping):
    """A weight held by two devices: ``w = w_max (g_plus - g_minus) / (g_max - g_min)``, [Joshi2020]_.

    The device of the weight's sign carries ``g_min + |w| / w_max (g_max - g_min)``, the other rests at g_min
    ([aihwkit]_).

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

    g_min_uS: float  # noqa: N815
    g_max_uS: float  # noqa: N815
    w_max: float | NDArray[np.float64]

    @property
    def name(self) -> str:
        """``conductance_pair``."""
        return "conductance_pair"

    @property
    def coefficients(self) -> tuple[float, ...]:
        """``(1, -1)``: plus, then minus."""
        return (1.0, -1.0)

    @property
    def step(self) -> NDArray[np.float64]:
        """Value per uS of difference, ``w_max / (g_max - g_min)``, broadcastable to the tensor."""
        return np.asarray(self.w_max, dtype=np.float64) / self.span_uS

    def to_cells(self, values: Values) -> NDArray[np.float32]:
        """Return the target conductances of *values* in uS, ``(2, *shape)``, saturating at g_max."""
        scaled = self._scaled(values)
        cells = np.empty((2, *scaled.shape), np.float32)
        top = np.float32(self.span_uS)
        np.clip(scaled, np.float32(0), top, out=cells[0])
        np.clip(np.negative(scaled, out=scaled), np.float32(0), top, out=cells[1])
        cells += np.float32(self.g_min_uS)
        return cells

    def combine(self, cells: NDArray[Real]) -> NDArray[Real]:
        """Return plus minus minus, uS."""
        difference: NDArray[Real] = cells[0] - cells[1]
        return difference

    def to_conductances(self, values: Values) -> Conductances:
        """Return the target conductances of *values* in uS, each of its shape, saturating at g_max."""
        return Conductances(*self.to_cells(values))

    def from_conductances(self, g_plus: NDArray[Any], g_minus: NDArray[Any]) -> NDArray[np.float32]:
        """Return the weights of a pair of conductances (uS, the tensor's shape) in value units, float32."""
        weights: NDArray[np.float32] = ((np.asarray(g_plus) - np.asarray(g_minus)) * self.step).astype(np.float32)
        return weights
