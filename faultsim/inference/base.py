"""What a law of a running network is, the registry of such laws, and a law bound to one chip. No law lives here."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultsim import rng
from faultsim.errors import OptionError
from faultsim.inference.place import Place

INFERENCE_LAWS: dict[str, type["InferenceLaw"]] = {}
"""Every registered law by its `InferenceLaw.kind`."""

Stage = Literal["input", "tile", "output"]


@dataclass(frozen=True, kw_only=True)
class InferenceLaw(ABC):
    """One law of how a chip goes wrong while it computes: a frozen value.

    What it does to a sample depends on the chip, the layer and the number of the sample in the data set alone,
    never on the batch that the sample came in.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def is_null(self) -> bool:
        """Whether the law changes nothing, such as noise of zero: a run then leaves it out."""

    def fault_free(self) -> "InferenceLaw | None":
        """Return what is left of this law on a chip without faults (a storage format, say), None for nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class LayerLaw(InferenceLaw):
    """A law of the matrix-vector products: it acts on what enters or leaves every layer with stored weights."""

    order: ClassVar[int] = 0
    """Place among the laws of one stage, the lowest first, however they are listed; equal ones act as listed."""

    @property
    @abstractmethod
    def stage(self) -> Stage:
        """Where it acts: on a layer's inputs, on the partial sums of one array (tile), or on the whole outputs.

        Outputs are those of the product alone: a layer's bias is added behind the converters, digitally, as
        in aihwkit (``MappingParameter.digital_bias``).
        """

    @property
    def array_rows(self) -> int | None:
        """Rows of one array, to split a layer's sum by; None for arrays as large as the layer."""
        return None

    @abstractmethod
    def act(self, values: NDArray[Any], place: Place, effect: "Effect") -> NDArray[Any]:
        """Return the values after this law; *values* may be overwritten.

        Args:
            values: Inputs, or outputs without bias, of one batch: floats in the layer's own units.
            place: The layer, its ranges and its samples.
            effect: The chip and the mechanism, for random numbers.
        """


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A law on one chip: what `engine.runner.Runner.open` takes beside the chip's numbers.

    Attributes:
        mechanism: The device's name for it; part of the key of every draw.
        law: The law.
        seed: The campaign's seed.
        trial: Number of the chip, from 0.
        sites: Names of the stored weights whose layers it is confined to (for laws of activations: names of
            activations); None for all.
        gains: Digital factors behind the converters, by stored weight: a number, or one for each output channel
            (drift compensation). The chip's numbers hold them already; noise and steps before them grow with them.
    """

    mechanism: str
    law: InferenceLaw
    seed: int = 0
    trial: int = 0
    sites: frozenset[str] | None = None
    gains: Mapping[str, float | NDArray[Any]] = field(default_factory=dict, hash=False, compare=False)

    def generator(self, *names: str) -> np.random.Generator:
        """Return the generator of one draw of this mechanism on this chip."""
        return rng.generator(self.seed, self.trial, self.mechanism, *names)

    def gain(self, place: Place, rank: int) -> NDArray[np.float32]:
        """Return the digital factor on a layer's outputs, to broadcast over outputs of *rank* axes; 1 without any."""
        gain = np.asarray(self.gains.get(place.ranges.site, 1.0), dtype=np.float32).reshape(-1)
        if gain.size == 1 or place.channel_axis is None:
            return gain[:1].reshape(())
        axis = place.channel_axis % rank
        return gain.reshape([-1 if i == axis else 1 for i in range(rank)])

    def normal(self, values: NDArray[Any], place: Place) -> NDArray[np.float32]:
        """Return standard normal numbers of the shape of *values*, each sample's from a generator of its own.

        Where no axis counts samples, all share one draw.
        """
        names = (place.layer,) if place.tiles == 1 else (place.layer, f"tile {place.tile}")
        where = place.sample_axis
        if where is None or not where.fits(values.shape, place.batch):
            return self.generator(*names, "all samples").standard_normal(values.shape, dtype=np.float32)
        others = (*values.shape[: where.axis], *values.shape[where.axis + 1 :])
        drawn = np.empty((place.batch, values.shape[where.axis] // place.batch, *others), dtype=np.float32)
        for sample, one in enumerate(drawn, start=place.start):
            self.generator(*names, str(sample)).standard_normal(out=one, dtype=np.float32)
        return where.together(drawn)


def fault_free(effects: Iterable[Effect]) -> tuple[Effect, ...]:
    """Return what of *effects* a chip without faults has: what its golden predictions are made under."""
    kept = ((effect, effect.law.fault_free()) for effect in effects)
    return tuple(replace(effect, law=law) for effect, law in kept if law is not None)


_Law = TypeVar("_Law", bound=type[InferenceLaw])


def register(law: _Law) -> _Law:
    """Enter a law in `INFERENCE_LAWS` under its kind: a class decorator.

    Raises:
        OptionError: If another class has that kind already.
    """
    known = INFERENCE_LAWS.get(law.kind, law)
    if known is not law and known.__qualname__ != law.__qualname__:
        raise OptionError(f"inference law {law.kind!r} is taken by {known.__name__}; choose another")
    INFERENCE_LAWS[law.kind] = law
    return law
