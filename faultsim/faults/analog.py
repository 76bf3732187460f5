"""What an analog law is, and the chain that applies several to the same devices. No law lives here."""

import itertools
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.events import together
from faultsim.corruption import Add, Stored
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.base import Fault, register
from faultsim.faults.censored import rectified as rectified
from faultsim.faults.curves import horner as horner
from faultsim.faults.largest import drawn_largest
from faultsim.faults.moments import Moments as Moments
from faultsim.faults.moments import ValueMoments as ValueMoments
from faultsim.faults.moments import closed_bound, of_weights
from faultsim.formats.conductance import ConductanceMapping


class Cells(NamedTuple):
    """The devices of one tensor on one chip, uS, each array of shape ``(devices, *shape)``.

    `target` is what was asked for, `programmed` what programming left, `now` what a read finds; `gain` is
    the digital factor on the tensor's output, 1 without compensation, broadcastable to the tensor.
    `channel_axis` is the tensor's axis of output channels. A shared device has equal entries at all weights
    that share it: draw with `ConductanceMapping.normals`.
    """

    target: NDArray[np.float32]
    programmed: NDArray[np.float32]
    now: NDArray[np.float32]
    gain: float | NDArray[np.float64] = 1.0
    channel_axis: int = 0


@dataclass(frozen=True, kw_only=True)
class AnalogLaw(Fault):
    """A law that acts on the conductances behind a tensor; alone it is a chain of one.

    Attributes:
        t_s: Seconds from the end of programming to the read, at least 0.
    """

    transient: ClassVar[bool] = False
    """Whether the law is drawn anew at every read; a sampled edit then holds one frozen draw."""

    bounded: ClassVar[bool] = False
    """Whether a read is held within the range, so that it may find less spread than the devices have."""

    sparse: ClassVar[bool] = False
    """Whether the law leaves most devices whole; its moments are no normal's, and `budget` is its own."""

    t_s: float = 1.0

    def __post_init__(self) -> None:
        check_rate("t_s", self.t_s, top=float("inf"))

    @abstractmethod
    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Return the cells after this law, *t_s* seconds from programming; *cells* is left as it was."""

    @abstractmethod
    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
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

    Each law draws the same numbers whatever the time is: with the same generator a chain at a later `t_s`
    is the same chip, aged. Read noise enters as one frozen draw: one read of one chip, so the spread over
    trials is that of single reads and a little wider than the chips' own; `without_reads` and `read_std`
    let an engine redraw it at every inference instead.

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
            DeviceError: If the tensor is not stored as conductances.
        """
        mapping = conductances(stored)
        target = mapping.to_cells(stored.values)
        cells = Cells(target, target, target, channel_axis=stored.site.channel_axis)
        for law in self.laws:
            cells = law.act(cells, mapping, rng, self._time(law))
        # A difference of conductances, not of weights: untouched devices give exactly zero.
        change = mapping.combine(cells.now)
        if not np.isscalar(cells.gain) or cells.gain != 1:
            change *= np.asarray(cells.gain, np.float32)
        change -= mapping.combine(target)
        change *= mapping.step.astype(np.float32)
        return Add(delta=change)

    def moments(self, stored: Stored) -> ValueMoments:
        """Return mean and standard deviation over chips of each weight's delta, value units.

        Exact for one law; along a chain the conductance that a clip meets is taken as normal.

        Raises:
            DeviceError: If the tensor is not stored as conductances.
        """
        return of_weights(self._spread(stored), conductances(stored))

    def gain(self, stored: Stored) -> float | NDArray[np.float64]:
        """Return the mean over chips of the digital factor behind the converters, broadcastable to the tensor."""
        return self._spread(stored).gain

    def read_std(self, stored: Stored) -> NDArray[np.float64]:
        """Return the standard deviation of one read of each weight, value units: the transient laws alone.

        Where weights share a reference device, its part of the noise is common to them. Where a read is held
        within the range it is that of reads of the mean chip.
        """
        whole = self.moments(stored).std
        rest = self.without_reads()
        if rest is None:
            return whole
        if any(law.bounded for law in self.laws):
            mapping, moments = conductances(stored), rest._spread(stored)
            moments = moments._replace(var=np.zeros_like(moments.var), third=0.0)
            for law in self.laws:
                moments = law.spread(moments, mapping, self._time(law)) if law.transient else moments
            return of_weights(moments, mapping).std
        left: NDArray[np.float64] = np.sqrt(np.maximum(whole**2 - rest.moments(stored).std ** 2, 0.0))
        return left

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the delta of one tensor: variances of the laws add, `faultsim.budget.gaussian`."""
        return self.bound(stored, mechanism=self.kind, p=p, confidence=confidence)

    def bound(self, stored: Stored, *, mechanism: str, p: float, confidence: float) -> Budget:
        """Bound the delta of one tensor under the name *mechanism*.

        Dense laws by their means and spreads (`faultsim.budget.gaussian`, or `dependent` where they are
        skewed or share a device), rare ones by their own budgets, both kinds `together`.
        """
        rare = tuple(replace(law, t_s=self._time(law)) for law in self.laws if law.sparse)
        if not rare:
            return self._dense_bound(stored, mechanism, p, confidence)
        if len(self.laws) == 1:
            return replace(rare[0].budget(stored, p=p, confidence=confidence), mechanism=mechanism)
        kept = tuple(law for law in self.laws if not law.sparse)
        parts: list[Fault] = [*rare, *([AnalogChain(laws=kept, t_s=self.t_s)] if kept else [])]
        square = None
        if p == 2:
            mean, std = self.moments(stored)
            square = float(np.sum(mean**2 + std**2))
        # Each radius of p = inf must hold at once.
        each = confidence ** (1 / len(parts)) if p == np.inf else confidence
        bounds = [[part.budget(stored, p=p, confidence=q) for q in (each, 0.5)] for part in parts]
        bound = together(
            mechanism=mechanism,
            scope=stored.site.name,
            parts=[(wanted, half) for wanted, half in bounds],
            elements=stored.values.size,
            square=square,
        )
        return replace(bound, confidence=confidence)

    def _dense_bound(self, stored: Stored, mechanism: str, p: float, confidence: float) -> Budget:
        mapping, stops, drawn = conductances(stored), False, None
        if p == np.inf:
            noisy = self._noisy(stored)
            if len(noisy) > 1:
                drawn = drawn_largest(self.sample, stored, mapping, key=repr(self), confidence=confidence)
            stops = drawn is None and bool(noisy) and self._stops(*noisy[-1], mapping)
        moments, scope = self._spread(stored), stored.site.name
        found = closed_bound(
            moments, mapping, stops=stops, mechanism=mechanism, scope=scope, p=p, confidence=confidence
        )
        return found if drawn is None else replace(found, eps=drawn[0], note=drawn[1])

    def _spread(self, stored: Stored) -> Moments:
        return deque(self._states(stored), maxlen=1)[0]  # the others go at once: each is as large as the tensor

    def _states(self, stored: Stored) -> Iterator[Moments]:
        """Yield the moments as programmed, and after each law."""
        mapping = conductances(stored)
        target = mapping.to_cells(stored.values).astype(np.float64)
        state = Moments(target, target, target, np.zeros_like(target), channel_axis=stored.site.channel_axis)
        yield state
        for law in self.laws:
            state = law.spread(state, mapping, self._time(law))
            yield state

    def _noisy(self, stored: Stored) -> list[tuple[AnalogLaw, Moments]]:
        """Return the laws that add a spread, and the moments that each finds."""
        steps = zip(self.laws, itertools.pairwise(self._states(stored)), strict=True)
        return [(law, before) for law, (before, after) in steps if not np.array_equal(before.var, after.var)]

    def _stops(self, law: AnalogLaw, before: Moments, mapping: ConductanceMapping) -> bool:
        """Whether a law stops at 0 what it finds."""
        return law.spread(before._replace(clipped=False), mapping, self._time(law)).clipped

    def _time(self, law: AnalogLaw) -> float:
        return law.t_s if self.t_s is None else self.t_s


def conductances(stored: Stored) -> ConductanceMapping:
    """Return the format of *stored* as a mapping to conductances.

    Raises:
        DeviceError: If it is another format.
    """
    if not isinstance(stored.format, ConductanceMapping):
        raise DeviceError(
            f"tensor {stored.site.name!r} is stored as {stored.format.name}, but an analog law needs "
            "conductance pairs or another analog mapping; give the device an analog storage"
        )
    return stored.format
