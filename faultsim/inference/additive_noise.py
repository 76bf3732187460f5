"""The laws of additive noise at the inputs and outputs of the arrays.

References:
    .. [aihwkit] IBM aihwkit 1.1.0, ``IOParameters.inp_noise`` and ``out_noise``: standard deviations in
       normalised units; noise of an input is added behind the DAC, noise of an output before the ADC.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import check_rate
from faultsim.inference.base import Effect, Stage, register
from faultsim.inference.place import Place
from faultsim.inference.ranged import RangedLaw


@dataclass(frozen=True, kw_only=True)
class _AdditiveNoise(RangedLaw):
    sigma: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("sigma", self.sigma, top=float("inf"))

    @property
    def is_null(self) -> bool:
        """Whether sigma is 0."""
        return self.sigma == 0

    def _add(self, values: NDArray[Any], unit: NDArray[np.float32], place: Place, effect: Effect) -> NDArray[Any]:
        noise = effect.normal(values, place)
        noise *= unit * np.float32(self.sigma)
        values += noise
        return values


@register
@dataclass(frozen=True, kw_only=True)
class OutputNoise(_AdditiveNoise):
    """Normal noise on every output of every matrix-vector product, drawn anew for every inference, [aihwkit]_.

    Attributes:
        sigma: Its standard deviation in units of the range (`RangedLaw`), at least 0. In normalised units each array
            adds its own, so a layer over T arrays sees ``sqrt(T)`` times as much.

    Raises:
        OptionError: If a number is out of range.
    """

    kind: ClassVar[str] = "output_noise"
    order: ClassVar[int] = 1

    @property
    def stage(self) -> Stage:
        """Outputs of each array, or of the layer where relative to its full scale."""
        return "tile" if self.relative_to == "normalised" else "output"

    def act(self, values: NDArray[Any], place: Place, effect: Effect) -> NDArray[Any]:
        """Add the noise."""
        return self._add(values, self.output_unit(place) * effect.gain(place, values.ndim), place, effect)


@register
@dataclass(frozen=True, kw_only=True)
class InputNoise(_AdditiveNoise):
    """Normal noise on every input of every matrix-vector product, drawn anew for every inference, [aihwkit]_.

    In a convolution each input element has one noise, which all windows that hold the element share; hardware that
    converts an element again for each window has independent ones (the spread of a single output is the same).

    Attributes:
        sigma: Its standard deviation in units of the input range (`RangedLaw`), at least 0.

    Raises:
        OptionError: If a number is out of range.
    """

    kind: ClassVar[str] = "input_noise"
    order: ClassVar[int] = 3

    @property
    def stage(self) -> Stage:
        """Inputs of the layer."""
        return "input"

    def act(self, values: NDArray[Any], place: Place, effect: Effect) -> NDArray[Any]:
        """Add the noise."""
        return self._add(values, self.input_unit(place), place, effect)
