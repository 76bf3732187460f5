"""Where a law acts: a layer of the running network with its ranges and its samples. NumPy only; nothing runs here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.inference.calibration import LayerRange, SampleAxis


@dataclass(frozen=True)
class Place:
    """One matrix-vector layer in one batch, as a law sees it.

    Attributes:
        layer: Name of the node.
        ranges: What calibration found of it.
        input_peaks: Gives the largest magnitude of each input vector, an array that broadcasts over inputs and
            outputs. For a convolution that is the largest of a sample, not of each of its windows.
        batch: Samples in this batch.
        start: Number of its first sample in the data set.
        sample_axis: Where the samples of the values lie; None where no axis counts them.
        channel_axis: Axis of the outputs that counts channels, None where none does.
        weight_peaks: Largest magnitude of the fault-free weights of each output channel, in the layer's units, an
            array that broadcasts over the outputs; of the present array alone. 0 where there are no outputs yet.
        tile: Number of the array along the sum, from 0.
        tiles: Arrays that the sum is spread over.
        step: What one unit of the layer's integer accumulator is in the layer's units, an array that broadcasts
            over the outputs; None where the layer computes in floating point.
        variance: Gives the variance of the outputs, their shape, under a law with a standard deviation of each weight
            (`WeightReadNoise`); None where the law says nothing of this layer's weights.
    """

    layer: str
    ranges: LayerRange
    input_peaks: Callable[[], NDArray[np.float32]]
    batch: int
    start: int
    sample_axis: SampleAxis | None
    channel_axis: int | None = None
    weight_peaks: NDArray[np.float32] = field(default_factory=lambda: np.zeros((), np.float32))
    tile: int = 0
    tiles: int = 1
    step: NDArray[Any] | None = None
    variance: Callable[[Any], NDArray[Any] | None] | None = None
