"""What a network's values range over on clean data: layers and activations with their magnitudes. Nothing runs here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.formats.base import NumberFormat
from faultsim.formats.floats import FloatFormat
from faultsim.formats.integers import IntFormat

_BINS = 1 << 15


class Magnitudes:
    """Magnitudes seen so far: the largest one exactly, and a histogram fine enough for quantiles within 1 %.

    A bin is the sign-less float32 word cut to its exponent and 7 bits of mantissa, so it is at most 1/128 of its value
    wide. Numbers that are not finite are left out.
    """

    def __init__(self) -> None:
        self.peak = 0.0
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Take in *values*, any shape, floats."""
        magnitude = np.abs(np.asarray(values, dtype=np.float32)).reshape(-1)
        finite = magnitude[np.isfinite(magnitude)]
        if finite.size:
            self.peak = max(self.peak, float(finite.max()))
            self._counts += np.bincount(finite.view(np.uint32) >> 16, minlength=_BINS)

    def quantile(self, share: float) -> float:
        """Return the magnitude that *share* (0 to 1] of the values do not exceed; 1 gives the exact largest one.

        Raises:
            OptionError: If the share is out of range.
        """
        if not 0 < share <= 1:
            raise OptionError(f"a range's quantile must be above 0 and at most 1, got {share:g}")
        total = int(self._counts.sum())
        if share == 1 or not total:
            return self.peak
        place = int(np.searchsorted(np.cumsum(self._counts), share * total))
        edge = np.array([(min(place, _BINS - 2) + 1) << 16], dtype=np.uint32).view(np.float32)[0]
        return min(float(edge), self.peak)


class SampleAxis(NamedTuple):
    """Where the samples of a value lie.

    Attributes:
        axis: The axis that counts them, with others folded in where it is a multiple of the samples long.
        inner: Slices of one sample that lie side by side there before the next sample's come; None where all of a
            sample's do. A graph that folds (time, sample, feature) into (time x sample, feature) has 1.
    """

    axis: int
    inner: int | None = None

    def fits(self, shape: tuple[int, ...], batch: int) -> bool:
        """Whether a value of this *shape* holds a whole number of such slices for each sample of a *batch*."""
        return self.axis < len(shape) and shape[self.axis] % (batch * (self.inner or 1)) == 0

    def apart(self, values: NDArray[Any], batch: int) -> NDArray[Any]:
        """Return *values* as (batch, slices of a sample, all other axes in their order)."""
        rows = np.moveaxis(values, self.axis, 0)
        inner = self.inner or len(rows) // batch
        outer = len(rows) // max(batch * inner, 1)
        folded = rows.reshape(outer, batch, inner, *rows.shape[1:])
        return np.moveaxis(folded, 1, 0).reshape(batch, outer * inner, *rows.shape[1:])

    def together(self, apart: NDArray[Any]) -> NDArray[Any]:
        """Return what `apart` took apart, in its shape."""
        batch, slices, *others = apart.shape
        inner = self.inner or slices
        outer = slices // max(inner, 1)
        folded = np.moveaxis(apart.reshape(batch, outer, inner, *others), 0, 1)
        return np.moveaxis(folded.reshape(outer * batch * inner, *others), 0, self.axis)


@dataclass(frozen=True, eq=False)
class LayerRange:
    """A matrix-vector layer on clean data.

    Attributes:
        name: Name of the node.
        site: Name of its stored weight.
        weight: The fault-free weight as the node multiplies with it: floats, or centred codes of an integer op.
        input_axis: Where the samples of its inputs lie, None where no axis counts them.
        output_axis: The same for its outputs.
        inputs: Magnitudes of its inputs.
        outputs: Magnitudes of its outputs without bias.
    """

    name: str
    site: str
    weight: NDArray[Any]
    input_axis: SampleAxis | None
    output_axis: SampleAxis | None
    inputs: Magnitudes = field(default_factory=Magnitudes)
    outputs: Magnitudes = field(default_factory=Magnitudes)


@dataclass(frozen=True, eq=False)
class ActivationRange:
    """An activation that the chip writes to memory.

    Attributes:
        name: Its name in the graph.
        layer: Name of the node that makes it, empty for an input of the graph.
        elements: Elements of one sample.
        format: How the graph itself holds it: integer codes, or float words.
        axis: Where its samples lie, None where no axis counts them.
        values: Magnitudes on clean data.
    """

    name: str
    layer: str
    elements: int
    format: NumberFormat
    axis: SampleAxis | None
    values: Magnitudes = field(default_factory=Magnitudes)

    def stored_as(self, bits: int | None) -> NumberFormat:
        """Return the format in memory: floats as symmetric codes of *bits* bits where given, else the graph's own.

        The scale is the largest magnitude on clean data over the largest code; larger numbers saturate
        (Krishnamoorthi 2018, arXiv 1806.08342, §2.3).
        """
        if bits is None or not isinstance(self.format, FloatFormat):
            return self.format
        top = self.values.peak / ((1 << (bits - 1)) - 1)
        return IntFormat(bits, scale=max(top, float(np.finfo(np.float32).tiny)) if top > 0 else 1.0)


class Uncovered(NamedTuple):
    """A layer with stored weights on which no law of the matrix-vector products acts."""

    layer: str
    op: str


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranges of a network on clean data, and what of it lies outside the laws.

    Attributes:
        layers: Matrix-vector layers by node name, in the order in which they run.
        activations: Activations in memory by name, in the order in which they are made, the inputs first.
        uncovered: Layers with weights that no law of the products reaches (recurrent ones, bodies of If and Loop).
        samples: Samples calibrated on.
    """

    layers: Mapping[str, LayerRange]
    activations: Mapping[str, ActivationRange]
    uncovered: tuple[Uncovered, ...]
    samples: int

    def activation_bits(self, bits: int | None = None) -> int:
        """Return the bits that one inference writes to activation memory; *bits* as in `ActivationRange.stored_as`."""
        return sum(one.elements * one.stored_as(bits).bits for one in self.activations.values())
