"""The law of upsets in the memory that holds activations.

References:
    .. [Li2017] G. Li et al. Understanding error propagation in deep learning neural network accelerators and
       applications. SC 2017: one flipped bit of a buffer an inference.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import check_rate
from faultsim.errors import OptionError
from faultsim.faults.upset_rate import positive_poisson
from faultsim.formats.base import NumberFormat
from faultsim.inference.activation_storage import ActivationLaw
from faultsim.inference.base import Effect, register
from faultsim.inference.calibration import ActivationRange


class Upset(NamedTuple):
    """Bits that flip in one element of one activation, in the inference of every sample alike."""

    activation: str
    element: int
    mask: int


@register
@dataclass(frozen=True, kw_only=True)
class ActivationUpset(ActivationLaw):
    """Particles flip bits of activations between writing and reading, [Li2017]_.

    A trial draws its upsets once and strikes the same places in the inference of every sample, so each sample is one
    inference with these upsets. A place is a bit of the memory that one inference writes, uniformly: an
    activation in proportion to its bits, an element, and a run of adjacent bits in its word. Every activation lies
    in memory once; one that several layers read is wrong for all of them.

    Attributes:
        count: Upsets an inference, at least 0; not together with *mean*.
        mean: Expected upsets an inference, their number Poisson.
        given_event: With *mean*: draw given that there is at least one.
        multiplicity: ``P(size = 1, 2, ...)`` bits flipped by one event, adding up to 1.
        bits: See `ActivationLaw`.

    Raises:
        OptionError: If a number is out of range, or neither or both of *count* and *mean* are given.
    """

    kind: ClassVar[str] = "activation_upset"
    count: int | None = None
    mean: float | None = None
    given_event: bool = False
    multiplicity: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.count is None) == (self.mean is None):
            raise OptionError("activation upsets need either a count or a mean number an inference")
        if self.count is not None and self.count < 0:
            raise OptionError(f"the count of activation upsets must be at least 0, got {self.count}")
        if self.mean is not None:
            check_rate("mean", self.mean, top=math.inf)
        if self.given_event and not self.mean:
            raise OptionError("given_event needs a mean above 0, or no event can happen")
        if not self.multiplicity or min(self.multiplicity) < 0 or abs(sum(self.multiplicity) - 1) > 1e-6:
            raise OptionError(f"multiplicity must be probabilities that add up to 1, got {self.multiplicity}")

    @property
    def is_null(self) -> bool:
        """Whether nothing flips and nothing is rounded."""
        return not self.count and not self.mean and self.bits is None

    def draw(self, activations: Mapping[str, ActivationRange], effect: Effect) -> tuple[Upset, ...]:
        """Draw the upsets of one chip.

        Args:
            activations: The activations in memory, as calibration lists them.
            effect: The chip, and which activations it is confined to.

        Raises:
            OptionError: If *effect* leaves no activation.
        """
        held = [one for name, one in activations.items() if effect.sites is None or name in effect.sites]
        words = np.array([one.stored_as(self.bits).bits for one in held], dtype=np.int64)
        sizes = words * np.array([one.elements for one in held], dtype=np.int64)
        if not sizes.sum():
            raise OptionError(f"mechanism {effect.mechanism}: no activation is left to upset; widen its sites")
        rng = effect.generator("upsets")
        ends = np.cumsum(sizes)
        shares = np.asarray(self.multiplicity) / sum(self.multiplicity)
        found = []
        for _ in range(self._number(rng)):
            hit = int(rng.integers(ends[-1]))
            place = int(np.searchsorted(ends, hit, side="right"))
            width = int(words[place])
            element, bit = divmod(hit - int(ends[place] - sizes[place]), width)
            size = min(int(rng.choice(len(shares), p=shares)) + 1, width)
            # A run that would leave the word is shifted back into it.
            found.append(Upset(held[place].name, element, ((1 << size) - 1) << min(bit, width - size)))
        return tuple(found)

    def _number(self, rng: np.random.Generator) -> int:
        if self.mean is None:
            return int(self.count or 0)
        return positive_poisson(rng, self.mean) if self.given_event else int(rng.poisson(self.mean))


def struck(words: NDArray[Any], mask: int, form: NumberFormat) -> NDArray[Any]:
    """Return *words*' values (1-D, one element of each sample) with the bits of *mask* flipped, in their own dtype."""
    flipped = form.encode(words) ^ np.uint64(mask)
    return np.asarray(form.decode(flipped)).astype(words.dtype, copy=False)
