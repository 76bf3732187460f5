"""What an analog law is, and the chain that applies several to one differential pair. No law lives here."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.dense import gaussian
from faultsim.corruption import Add, Stored
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.base import Fault, register
from faultsim.formats import ConductancePair


class Cells(NamedTuple):
    """The devices of one tensor on one chip, uS, each array of shape ``(2, *shape)``: plus, then minus.

    `target` is what was asked for, `programmed` what programming left, `now` what a read finds; `gain` is
    the digital factor on the tensor's output, 1 without compensation.
    """

    target: NDArray[np.float32]
    programmed: NDArray[np.float32]
    now: NDArray[np.float32]
    gain: float = 1.0


class Moments(NamedTuple):
    """Means and variances over chips of the same quantities, uS and uS², float64, shape ``(2, *shape)``.

    `programmed` is weighted by the conductance itself, ``E[g²]/E[g]``: relative noise acts there.
    """

    target: NDArray[np.float64]
    programmed: NDArray[np.float64]
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    gain: float = 1.0


class ValueMoments(NamedTuple):
    """Mean and standard deviation over chips of each weight's delta, value units, the tensor's shape."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AnalogLaw(Fault):
    """A law that acts on the conductances of differential pairs; alone it is a chain of one.

    Attributes:
        t_s: Seconds from the end of programming to the read, at least 0.
    """

    transient: ClassVar[bool] = False
    """Whether the law is drawn anew at every read; a sampled edit then holds one frozen draw."""

    t_s: float = 1.0

    def __post_init__(self) -> None:
        check_rate("t_s", self.t_s, top=float("inf"))

    @abstractmethod
    def act(self, cells: Cells, pair: ConductancePair, rng: np.random.Generator, t_s: float) -> Cells:
        """Return the cells after this law, *t_s* seconds from programming; *cells* is left as it was."""

    @abstractmethod
    def spread(self, moments: Moments, pair: ConductancePair, t_s: float) -> Moments:
        """Return the moments after this law, devices taken as independent."""

    def sample(self, stored: Stored, rng: np.random.Generator) -> Add:
        """Draw the law's dense delta of one tensor on one chip, value units, float32, the tensor's shape."""
        return AnalogChain(laws=(self,), t_s=self.t_s).sample(stored, rng)

    def std(self, stored: Stored) -> NDArray[np.float64]:
        """Return the standard deviation of each weight's delta, value units, the tensor's shape."""
        return AnalogChain(laws=(self,), t_s=self.t_s).moments(stored).std

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the delta of one tensor: `faultsim.budget.gaussian` on this law's means and spreads."""
        chain = AnalogChain(laws=(self,), t_s=self.t_s)
        return chain.bound(stored, mechanism=self.kind, p=p, confidence=confidence)


@register
@dataclass(frozen=True, kw_only=True)
class AnalogChain(Fault):
    """Analog laws in sequence on the same devices (programming, then drift, then a read): one dense delta.

    Each law draws one number a device in the order of *laws*, whatever the time is: with the same
    generator a chain at a later `t_s` is the same chip, aged. Read noise enters as one frozen draw: one
    read of one chip, so the spread over trials is that of single reads and a little wider than the chips'
    own; `without_reads` and `read_std` let an engine redraw it at every inference instead.

    Attributes:
        laws: The laws, in the order of time; at least one.
        t_s: Seconds from the end of programming to the read; ``None`` takes each law's own.

    Raises:
        OptionError: If there is no law or the time is negative.
    """

    kind: ClassVar[str] = "analog_chain"
    laws: tuple[AnalogLaw, ...]
    t_s: float | None = None

    def __post_init__(self) -> None:
        if not self.laws:
            raise OptionError("an analog chain needs at least one law, got none")
        if self.t_s is not None:
            check_rate("t_s", self.t_s, top=float("inf"))

    def at(self, t_s: float) -> "AnalogChain":
        """Return the same chain *t_s* seconds after programming."""
        return AnalogChain(laws=self.laws, t_s=t_s)

    def without_reads(self) -> "AnalogChain | None":
        """Return the chain without its transient laws, or ``None`` where nothing is left."""
        kept = tuple(law for law in self.laws if not law.transient)
        return AnalogChain(laws=kept, t_s=self.t_s) if kept else None

    def sample(self, stored: Stored, rng: np.random.Generator) -> Add:
        """Draw the chain's dense delta of one tensor on one chip, value units, float32, the tensor's shape.

        Raises:
            DeviceError: If the tensor is not stored as conductance pairs.
        """
        pair = conductance_pair(stored)
        target = np.stack(pair.to_conductances(stored.values))
        cells = Cells(target, target, target)
        for law in self.laws:
            cells = law.act(cells, pair, rng, self._time(law))
        # A difference of conductances, not of weights: untouched devices give exactly zero.
        change = np.float32(cells.gain) * (cells.now[0] - cells.now[1]) - (target[0] - target[1])
        return Add(delta=change * pair.step.astype(np.float32))

    def moments(self, stored: Stored) -> ValueMoments:
        """Return mean and standard deviation over chips of each weight's delta, value units.

        Exact for one law; along a chain the conductance that a clip at 0 meets is taken as normal.

        Raises:
            DeviceError: If the tensor is not stored as conductance pairs.
        """
        pair = conductance_pair(stored)
        target = np.stack(pair.to_conductances(stored.values)).astype(np.float64)
        moments = Moments(target, target, target, np.zeros_like(target))
        for law in self.laws:
            moments = law.spread(moments, pair, self._time(law))
        mean = moments.gain * (moments.mean[0] - moments.mean[1]) - (target[0] - target[1])
        std = moments.gain * np.sqrt(moments.var[0] + moments.var[1])
        return ValueMoments(mean * pair.step, std * pair.step)

    def read_std(self, stored: Stored) -> NDArray[np.float64]:
        """Return the standard deviation of one read of each weight, value units: the transient laws alone."""
        whole = self.moments(stored).std
        rest = self.without_reads()
        if rest is None:
            return whole
        left: NDArray[np.float64] = np.sqrt(np.maximum(whole**2 - rest.moments(stored).std ** 2, 0.0))
        return left

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the delta of one tensor: variances of the laws add, `faultsim.budget.gaussian`."""
        return self.bound(stored, mechanism=self.kind, p=p, confidence=confidence)

    def bound(self, stored: Stored, *, mechanism: str, p: float, confidence: float) -> Budget:
        """Bound the delta of one tensor under the name *mechanism*."""
        mean, std = self.moments(stored)
        return gaussian(
            mechanism=mechanism,
            scope=stored.site.name,
            sigma=std,
            mean=mean,
            elements=stored.values.size,
            p=p,
            confidence=confidence,
        )

    def _time(self, law: AnalogLaw) -> float:
        return law.t_s if self.t_s is None else self.t_s


def conductance_pair(stored: Stored) -> ConductancePair:
    """Return the format of *stored* as a conductance pair.

    Raises:
        DeviceError: If it is another format.
    """
    if not isinstance(stored.format, ConductancePair):
        raise DeviceError(
            f"tensor {stored.site.name!r} is stored as {stored.format.name}, but an analog law needs "
            "conductance pairs; give the device an analog storage"
        )
    return stored.format


def rectified(mean: NDArray[np.float64], var: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of ``max(0, X)``, X normal with *mean* and *var* (0 allowed), same shape.

    By direct integration, the censored normal of Tobin (Econometrica 26:24-36, 1958): mean ``m Φ(z) + s
    φ(z)``, second moment ``(m² + s²) Φ(z) + m s φ(z)``, ``z = m/s``.
    """
    s = np.sqrt(var)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(s > 0, mean / np.where(s > 0, s, 1.0), np.where(mean >= 0, 40.0, -40.0))
    above = special.ndtr(z)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    first = mean * above + s * density
    second = (mean**2 + var) * above + mean * s * density
    return first, np.maximum(second - first**2, 0.0)


def horner(coefficients: Sequence[float], x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return ``sum_i coefficients[i] x**i``, in x's dtype and shape."""
    kind = x.dtype.type
    total = np.full_like(x, kind(coefficients[-1]))
    for coefficient in reversed(coefficients[:-1]):
        total *= x
        total += kind(coefficient)
    return total
