"""The law of read noise of stored weights, drawn anew for every read.

For independent normal noise of the weights with standard deviations s, an output ``sum_i (w_i + s_i N_i) x_i`` is
normal with mean ``sum_i w_i x_i`` and variance ``sum_i s_i² x_i²``: the noise can be added to the output.

References:
    .. [aihwkit] IBM aihwkit 1.1.0, ``IOParameters.w_noise`` (PCM_READ): noise of a read referred to the output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.inference.base import Effect, LayerLaw, Stage, register
from faultsim.inference.place import Place


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class WeightReadNoise(LayerLaw):
    """Every read of a weight finds it normally spread around its stored value.

    Each matrix-vector product is a read: the windows of a convolution are read one after the other and have
    independent noise. Exact in distribution, at the price of a second product with squared numbers.

    Attributes:
        std: Standard deviation of one read of each weight by site: the site's shape and value units (codes of an
            integer tensor), at least 0. `faults.AnalogChain.read_std` gives it.

    Raises:
        OptionError: If a standard deviation is negative or not finite.
    """

    kind: ClassVar[str] = "weight_read_noise"
    std: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        for name, spread in self.std.items():
            if not np.all(np.isfinite(spread)) or np.any(np.asarray(spread) < 0):
                raise OptionError(f"the read noise of {name!r} must be finite and at least 0 everywhere")

    @property
    def is_null(self) -> bool:
        """Whether no weight has any noise."""
        return not any(np.any(spread) for spread in self.std.values())

    @property
    def stage(self) -> Stage:
        """Outputs of each array."""
        return "tile"

    def act(self, values: NDArray[Any], place: Place, effect: Effect) -> NDArray[Any]:
        """Add the noise, referred to the outputs."""
        variance = None if place.variance is None else place.variance(self)
        if variance is None:
            return values
        noise = effect.normal(values, place)
        noise *= np.sqrt(np.maximum(variance, 0))
        values += noise
        return values
