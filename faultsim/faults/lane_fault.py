"""The law of upsets in an FPGA's configuration memory: they break logic, here one lane of an accelerator.

References:
    .. [UG116] AMD UG116, Device Reliability Report: soft error rates of configuration memory in FIT/Mb, and the
       device vulnerability factor (DVF), the share of upsets that change what the design does: 5 % typically, never
       more than 10 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.regions import Regions, region_failures
from faultsim.corruption import Edit, Stored, Xor
from faultsim.errors import OptionError
from faultsim.faults import lanes
from faultsim.faults.base import CHIP, Fault, Generators, register
from faultsim.faults.effects import empty, words_of, xor_of
from faultsim.faults.upset_rate import positive_poisson

Effect = Literal["zero", "stuck", "negate", "crash"]
EFFECTS: tuple[Effect, ...] = ("zero", "stuck", "negate", "crash")
Held = dict[str, NDArray[Any]]


class LaneChip(NamedTuple):
    """What configuration upsets did to one chip.

    Attributes:
        edits: An edit for each tensor that is wrong, by name.
        crashes: Events that stopped the accelerator: detected, and in no edit.
    """

    edits: dict[str, Edit]
    crashes: int


@register
@dataclass(frozen=True, kw_only=True)
class LaneFault(Fault):
    """An upset of configuration memory breaks one lane: one output channel of one layer, all of them equally likely.

    The number of events is Poisson with mean ``FIT/Mb * Mb / 1e9 h * exposure * flux_factor * dvf`` ([UG116]_),
    whatever the model's size, as it counts the bits of the accelerator. Each event does one of

    - ``zero``: the channel's weights and its bias read as zero;
    - ``negate``: both change sign (a code that has no negative saturates);
    - ``stuck``: the weights read as zero and the bias as the largest magnitude of the layer's biases, since the range
      of its outputs is not known here: the channel is constant and large. A layer without a bias reads as ``zero``;
    - ``crash``: the accelerator stops. That is a detected event: no edit, counted by `draw`.

    Zero is the code of zero: the zero point of an integer tensor, where *stored* holds it
    (`faultsim.faults.lanes.real_zero`). A format without a zero, as binary, reads as what it rounds zero to.

    Attributes:
        fit_per_mbit: Upsets per 1e9 h and 1e6 configuration bits at a flux factor of 1, at least 0.
        capacity_mbit: Configuration memory, 1e6 bits, at least 0.
        exposure_h: Hours between two scrubs, or of the mission without them, at least 0.
        dvf: Share of the upsets that change what the design does, 0 to 1.
        shares: Probability of each effect: zero, stuck, negate, crash; adding up to 1.
        flux_factor: Particle flux over the reference's, at least 0.
        given_event: Whether to condition on at least one event, a crash included.

    Raises:
        OptionError: If a number is out of range, or *given_event* is asked for where no event can happen.
    """

    kind: ClassVar[str] = "lane_fault"
    fit_per_mbit: float
    capacity_mbit: float
    exposure_h: float
    dvf: float = 1.0
    shares: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    flux_factor: float = 1.0
    given_event: bool = False

    def __post_init__(self) -> None:
        for name in ("fit_per_mbit", "capacity_mbit", "exposure_h", "flux_factor"):
            check_rate(name, getattr(self, name), top=math.inf)
        check_rate("dvf", self.dvf)
        if len(self.shares) != len(EFFECTS) or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise OptionError(f"shares must be four probabilities that add up to 1, got {self.shares}")
        if self.given_event and self._mean == 0:
            raise OptionError("given_event needs a rate, an exposure, a dvf and a flux above 0, or no event can happen")

    @property
    def _mean(self) -> float:
        return self.fit_per_mbit * 1e-9 * self.capacity_mbit * self.exposure_h * self.flux_factor * self.dvf

    def expected_events(self, stored: Sequence[Stored]) -> float:
        """Return the expected number of events over the exposure; 0 where *stored* has no lane to break."""
        return self._mean if lanes.weights(stored) else 0.0

    def probability(self, stored: Sequence[Stored]) -> float:
        """Return the probability of at least one event, 0 to 1."""
        return -math.expm1(-self.expected_events(stored))

    def sample(self, stored: Stored, rng: np.random.Generator) -> Xor:
        """Draw the events of an accelerator that computes with this weight alone; a bias alone is never hit."""
        edit = self.draw([stored], lambda _: rng).edits.get(stored.site.name)
        return edit if isinstance(edit, Xor) else empty()

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw the events of a chip; whole tensors are left out, and all of them if it only crashed."""
        return self.draw(stored, generators).edits

    def draw(self, stored: Sequence[Stored], generators: Generators) -> LaneChip:
        """Draw the events of a chip, the same as `sample_chip`, and count the crashes.

        Events come one after the other: a channel that is negated twice is right again.
        """
        layers = lanes.weights(stored)
        mean = self.expected_events(stored)
        if mean == 0:
            return LaneChip({}, 0)
        rng = generators(CHIP)
        count = positive_poisson(rng, mean) if self.given_event else int(rng.poisson(mean))
        kinds = rng.choice(len(EFFECTS), size=count, p=np.asarray(self.shares) / sum(self.shares))
        ends = np.cumsum([lanes.channels(one.site) for one in layers])
        places = rng.integers(ends[-1], size=count)
        held: Held = {}
        for kind, place in zip(kinds, places, strict=True):
            at = int(np.searchsorted(ends, place, side="right"))
            channel = int(place - ends[at]) + lanes.channels(layers[at].site)
            if EFFECTS[kind] != "crash":
                _break(held, layers[at], stored, channel, EFFECTS[kind])
        by_name = {one.site.name: one for one in stored}
        edits: dict[str, Edit] = {}
        for name in sorted(held):
            every = np.arange(by_name[name].values.size, dtype=np.int64)
            after = lanes.words_at(by_name[name], every, held[name].reshape(-1))
            edit = xor_of(words_of(by_name[name], every), after, every)
            if edit.indices.size:
                edits[name] = edit
        return LaneChip(edits, int(np.count_nonzero(kinds == EFFECTS.index("crash"))))

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the broken lanes of one tensor that takes all events: a weight, or the bias of one.

        Exact but for two events on one lane. Of a bias every number is a lane; tensors of other roles stay whole.
        """
        size, change = _changes(stored)
        magnitude = change.sum(axis=1) if p == 1 else (change**2).sum(axis=1) if p == 2 else change.max(axis=1)
        touched = np.count_nonzero(change, axis=1)
        mean = self._mean if size else 0.0
        weight = np.repeat(np.asarray(self.shares[:3]) / sum(self.shares) * mean / max(size, 1), size)
        crash = self.shares[3] / sum(self.shares) * mean
        return region_failures(
            mechanism=self.kind,
            scope=stored.site.name,
            regions=Regions(np.append(touched, 0.0), np.append(magnitude, 0.0), np.append(weight, crash)),
            elements=stored.values.size,
            given_event=self.given_event,
            p=p,
            confidence=confidence,
        )


def _break(held: Held, layer: Stored, stored: Sequence[Stored], channel: int, effect: Effect) -> None:
    """Let one lane of *layer* go wrong in the numbers that the chip holds now."""
    bias = lanes.bias_of(layer.site, stored)
    elements = lanes.lane_elements(layer.site, channel)
    zero = lanes.real_zero(layer, stored)[channel]
    now = held.setdefault(layer.site.name, _wide(layer)).reshape(-1)
    now[elements] = 2 * zero - now[elements] if effect == "negate" else zero
    if bias is not None:
        numbers = held.setdefault(bias.site.name, _wide(bias)).reshape(-1)
        top = _largest(bias) if effect == "stuck" else 0
        numbers[channel] = -numbers[channel] if effect == "negate" else top


def _wide(stored: Stored) -> NDArray[Any]:
    """Return a copy in which a negated code does not wrap around."""
    return stored.values.astype(np.int64) if stored.values.dtype.kind in "iu" else stored.values.copy()


def _largest(bias: Stored) -> NDArray[Any]:
    largest: NDArray[Any] = np.abs(_wide(bias)).max()
    return largest


def _changes(stored: Stored) -> tuple[int, NDArray[np.float64]]:
    """Return the number of lanes, and ``|change|`` of zero, stuck and negate for each, (3 lanes, elements of one)."""
    site = stored.site
    if lanes.is_weight(site):
        elements = lanes.matrix(site).T
        zero = lanes.real_zero(stored, [stored])[:, None]
    elif site.role == "bias":
        elements = np.arange(site.elements, dtype=np.int64)[:, None]
        zero = np.zeros((1, 1), dtype=np.int64)
    else:
        return 0, np.zeros((0, 1))
    numbers = _wide(stored).reshape(-1)[elements]
    top = _largest(stored) if site.role == "bias" and site.elements else zero
    after = [np.broadcast_to(zero, numbers.shape), np.broadcast_to(top, numbers.shape), 2 * zero - numbers]
    flat = elements.reshape(-1)
    fmt = stored.format.at(flat, stored.values.shape)
    after = [fmt.decode(fmt.encode(part.reshape(-1))).reshape(numbers.shape) for part in after]
    wide = numbers.astype(np.float64)
    return elements.shape[0], np.abs(np.concatenate([part - wide for part in after]))
