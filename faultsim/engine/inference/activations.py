"""Rounds and upsets the activations of a running network as its memory holds them. The laws are in `inference`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from faultsim.engine.inference.calibrate import numeric
from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat
from faultsim.inference import ActivationLaw, ActivationRange, ActivationUpset, Effect, Upset
from faultsim.inference.activation_storage import rounded
from faultsim.inference.activation_upset import struck
from faultsim.model.values import Codes, Value, from_numpy, moved, to_numpy

Array = NDArray[Any]


class Activations:
    """The activation memory of one chip.

    Attributes:
        upsets: What flips in every inference.
    """

    def __init__(self, ranges: Mapping[str, ActivationRange], effects: Sequence[Effect]) -> None:
        laws = [(effect, effect.law) for effect in effects if isinstance(effect.law, ActivationLaw)]
        widths = {law.bits for _, law in laws}
        if len(widths) > 1:
            raise OptionError("the laws of one chip's activation memory must agree on its bits")
        bits = next(iter(widths), None)
        self.upsets: tuple[Upset, ...] = tuple(
            upset
            for effect, law in laws
            if isinstance(law, ActivationUpset) and not law.is_null
            for upset in law.draw(ranges, effect)
        )
        touched = ranges if bits is not None else {upset.activation for upset in self.upsets}
        self._ranges = {name: ranges[name] for name in touched}
        self._formats: dict[str, NumberFormat] = {name: one.stored_as(bits) for name, one in self._ranges.items()}
        self._rounds = bits is not None

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def of_inputs(self, feeds: Mapping[str, Array], batch: int) -> dict[str, Array]:
        """Return a batch's inputs as the chip's memory gives them back."""
        return {
            name: self._read(name, np.array(array), batch) if name in self._ranges else array
            for name, array in feeds.items()
        }

    def of_output(self, name: str, value: Value, batch: int) -> Value:
        """Return an activation as the chip's memory gives it back."""
        tensor = numeric(value) if name in self._ranges else None
        if tensor is None:
            return value
        array = self._read(name, np.array(to_numpy(tensor)), batch)
        read = moved(from_numpy(array), tensor.device)
        return Codes(read, value.elem_type) if isinstance(value, Codes) and isinstance(read, Tensor) else read

    def _read(self, name: str, array: Array, batch: int) -> Array:
        """Round, then flip; *array* is overwritten."""
        one, form = self._ranges[name], self._formats[name]
        if self._rounds and form != one.format:
            array = rounded(array, form)
        where = one.axis if one.axis is not None and one.axis.fits(array.shape, batch) else None
        apart = np.ascontiguousarray(array[None] if where is None else where.apart(array, batch))
        flat = apart.reshape(len(apart), -1)
        for upset in self.upsets:
            # A sample may be shorter than those that were calibrated on; beyond its end lies nothing of it.
            if upset.activation == name and upset.element < flat.shape[1]:
                with np.errstate(invalid="ignore"):  # a flipped bit may make a NaN
                    flat[:, upset.element] = struck(flat[:, upset.element].copy(), upset.mask, form)
        return apart[0] if where is None else where.together(apart)
