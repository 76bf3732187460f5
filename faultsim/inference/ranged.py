"""What the laws of converters and noise share: the unit that their sizes are given in. No law lives here.

References:
    .. [Rasch2023] M. J. Rasch et al. Hardware-aware training for large-scale and diverse deep learning inference
       workloads using in-memory computing-based accelerators. Nature Communications 14:5282, 2023: inputs are scaled to
       [-1, 1], weights to at most 1 in each column, noise and converters act in these units.
    .. [aihwkit] IBM aihwkit 1.1.0, ``src/aihwkit/simulator/tiles/analog_mvm.py``, class AnalogMVM.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.inference.base import LayerLaw
from faultsim.inference.place import Place

InputRange = Literal["calibrated", "per_vector"]


@dataclass(frozen=True, kw_only=True)
class RangedLaw(LayerLaw):
    """A law whose size is relative to a layer's range.

    Attributes:
        relative_to: ``normalised``: an input in units of the input range, an output in units of the input range times
            the largest weight of its channel, [Rasch2023]_: each array by itself. ``full_scale``: in units of the
            layer's own largest magnitude on clean data, the whole layer at once.
        input_range: The input range: ``calibrated`` (the *quantile* on clean data), ``per_vector`` (the largest input
            of each vector, aihwkit's ABS_MAX noise management; of each sample in a convolution), or a number in
            the layer's units.
        weight_range: Whether each output channel has a scale of its own, or the layer has one.
        quantile: Share of the clean values inside the range, above 0; 1 takes the largest one.
        rows: Rows of one array. A layer that sums more inputs is spread over several, each with its own converter and
            noise, and their outputs are added digitally. None for arrays as large as the layer. It goes with
            ``normalised`` alone.

    Raises:
        OptionError: If a number is out of range.
    """

    relative_to: Literal["normalised", "full_scale"] = "normalised"
    input_range: InputRange | float = "calibrated"
    weight_range: Literal["per_channel", "per_tensor"] = "per_channel"
    quantile: float = 1.0
    rows: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise OptionError(f"quantile must be above 0 and at most 1, got {self.quantile:g}")
        if isinstance(self.input_range, float | int) and not 0 < self.input_range < float("inf"):
            raise OptionError(f"input_range must be finite and above 0, got {self.input_range:g}")
        if self.rows is not None and self.rows < 1:
            raise OptionError(f"an array needs at least one row, got {self.rows}")

    @property
    def array_rows(self) -> int | None:
        """Rows of one array."""
        return self.rows if self.relative_to == "normalised" else None

    def input_unit(self, place: Place) -> NDArray[np.float32]:
        """Return the unit of the inputs, an array that broadcasts over inputs and outputs."""
        if self.input_range == "per_vector" and self.relative_to == "normalised":
            return place.input_peaks()
        if isinstance(self.input_range, str) or self.relative_to == "full_scale":
            return np.asarray(place.ranges.inputs.quantile(self.quantile), dtype=np.float32)
        return np.asarray(self.input_range, dtype=np.float32)

    def output_unit(self, place: Place) -> NDArray[np.float32]:
        """Return the unit of the outputs, an array that broadcasts over them; 0 for a channel without weights."""
        if self.relative_to == "full_scale":
            return np.asarray(place.ranges.outputs.quantile(self.quantile), dtype=np.float32)
        peaks: NDArray[Any] = place.weight_peaks
        if self.weight_range == "per_tensor":
            peaks = np.asarray(peaks.max(initial=0.0), dtype=np.float32)
        return np.asarray(self.input_unit(place) * peaks, dtype=np.float32)
