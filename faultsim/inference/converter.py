"""The law of the converters of an analog array: DACs at its inputs, ADCs at its outputs.

References:
    .. [aihwkit] IBM aihwkit 1.1.0, ``AnalogMVM._prepare_input`` and ``_finalize_output``: round to a step of
       ``2 bound / steps``, then clip to ``[-bound, bound]``. An 8-bit converter has ``2**8 - 2`` steps.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.inference.base import Effect, Stage, register
from faultsim.inference.place import Place
from faultsim.inference.ranged import RangedLaw


@register
@dataclass(frozen=True, kw_only=True)
class Converter(RangedLaw):
    """Every input or output of a layer is rounded to one of a few levels and saturates, [aihwkit]_.

    Within the bound the error is at most half a step, and about uniform: its norm over m values is close to
    ``step * sqrt(m/12)``.

    Attributes:
        target: ``inputs`` (DAC) or ``outputs`` (ADC).
        steps: Steps from one bound to the other, at least 2; even steps keep 0 a level. `steps_of` gives
            those of a number of bits.
        bound: Where it saturates, in units of the range (`RangedLaw`), above 0.

    Raises:
        OptionError: If a number is out of range.
    """

    kind: ClassVar[str] = "converter"
    order: ClassVar[int] = 2
    target: Literal["inputs", "outputs"]
    steps: int
    bound: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target not in ("inputs", "outputs"):
            raise OptionError(f"a converter's target must be inputs or outputs, got {self.target!r}")
        if self.steps < 2:
            raise OptionError(f"a converter needs at least 2 steps, got {self.steps}")
        if not 0 < self.bound < float("inf"):
            raise OptionError(f"a converter's bound must be finite and above 0, got {self.bound:g}")

    @property
    def is_null(self) -> bool:
        """Never: rounding is always there."""
        return False

    @property
    def stage(self) -> Stage:
        """Inputs of the layer, outputs of each array, or outputs of the layer where relative to its full scale."""
        if self.target == "inputs":
            return "input"
        return "tile" if self.relative_to == "normalised" else "output"

    def act(self, values: NDArray[Any], place: Place, effect: Effect) -> NDArray[Any]:
        """Round and clip."""
        if self.target == "inputs":
            unit = self.input_unit(place)
        else:
            unit = self.output_unit(place) * effect.gain(place, values.ndim)
        top = (unit * np.float32(self.bound)).astype(values.dtype)
        step = top * values.dtype.type(2 / self.steps)
        values /= np.where(step > 0, step, 1)
        np.rint(values, out=values)
        values *= step
        return np.clip(values, -top, top, out=values)


def steps_of(bits: int) -> int:
    """Return the steps of a converter of *bits* bits whose levels lie symmetrically around 0: ``2**bits - 2``.

    Raises:
        OptionError: If *bits* is below 2 or above 24.

    Examples:
        >>> steps_of(8)
        254
    """
    if not 2 <= bits <= 24:
        raise OptionError(f"a converter has 2 to 24 bits here, got {bits}")
    return int((1 << bits) - 2)
