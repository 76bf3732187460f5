"""Runs a model on clean data and takes down what its layers and activations range over. No law acts here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from faultsim.engine.inference.layers import Layers, find_layers
from faultsim.engine.inference.memory import held_activations, quantized_inputs
from faultsim.engine.inference.products import build
from faultsim.errors import DataError, FaultsimError
from faultsim.formats.base import NumberFormat
from faultsim.inference import ActivationRange, Calibration, LayerRange
from faultsim.model import Model
from faultsim.model.nodes import Node
from faultsim.model.reading import number_format, quantizer_format
from faultsim.model.run import Compute
from faultsim.model.sites import element_type
from faultsim.model.values import Codes, Value, to_numpy

Array = NDArray[Any]
Feeds = Mapping[str, Array]


def calibrate(
    model: Model,
    batches: Iterable[Feeds],
    *,
    numbers: Mapping[str, Array] | None = None,
    layers: Layers | None = None,
) -> Calibration:
    """Return the ranges of *model* on clean data.

    Args:
        model: The model.
        batches: Batches of its inputs; at least one sample.
        numbers: The numbers of the fault-free chip by site; the model's own elsewhere.
        layers: What `find_layers` found of this model, if it is known already.

    Raises:
        DataError: If there is no batch, or it does not go with the model.
        ModelError: If a node fails.
    """
    probe = _Probe(layers or find_layers(model))
    samples = 0
    for feeds in batches:
        if not samples:
            probe.find_axes(model, feeds, numbers)
        samples += (count := batch_size(model, feeds))
        probe.run(model, feeds, numbers, count)
    if not samples:
        raise DataError("calibration needs at least one sample; give data")
    return Calibration(probe.ranges, probe.held, probe.layers.uncovered, samples)


def batch_size(model: Model, feeds: Feeds) -> int:
    """Return the samples of a batch; 1 where no input counts them."""
    counts = [np.shape(feeds[spec.name])[spec.batch_axis] for spec in model.inputs if spec.batch_axis is not None]
    return int(max(counts, default=1))


def numeric(value: Value) -> Tensor | None:
    """Return the numbers of an activation: floats or codes; None for indices, shapes, text and sequences."""
    if element_type(value) is None:
        return None
    tensor = value.values if isinstance(value, Codes) else value
    return tensor if isinstance(tensor, Tensor) else None


class _Probe:
    """Watches runs: first for shapes at two batch sizes, then for magnitudes."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.ranges: dict[str, LayerRange] = {}
        self.held: dict[str, ActivationRange] = {}
        self._axes: dict[str, int | None] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._watching = False
        self._wanted: frozenset[str] = frozenset()
        self._quantized: frozenset[str] = frozenset()

    def find_axes(self, model: Model, feeds: Feeds, numbers: Mapping[str, Array] | None) -> None:
        """Find the axis of every layer and activation that counts samples: the one that grows with the batch."""
        self._wanted = held_activations(model)
        self._quantized = quantized_inputs(model)
        if any(spec.fixed_batch is not None for spec in model.inputs):
            self._watching = True
            return
        seen: list[dict[str, tuple[int, ...]]] = []
        sizes = (2, 3)
        try:
            for size in sizes:
                self._shapes = {}
                self._watching = False
                self.run(model, _repeated(model, feeds, size), numbers, size)
                seen.append(self._shapes)
        except FaultsimError:  # a graph that takes one batch size alone
            seen = []
        if len(seen) == len(sizes):
            self._axes = {name: _growing(seen[0][name], seen[1][name]) for name in seen[0] if name in seen[1]}
        self._watching = True

    def run(self, model: Model, feeds: Feeds, numbers: Mapping[str, Array] | None, samples: int) -> None:
        """Run one batch of *samples* and take down what is seen."""
        for spec in model.inputs:
            array = np.asarray(feeds[spec.name])
            elem = int(helper.np_dtype_to_tensor_dtype(array.dtype)) if spec.name in self._wanted else 0
            floats = array.dtype.kind == "f" or elem == TensorProto.BFLOAT16  # which is no float to NumPy
            if elem and (floats or spec.name in self._quantized):
                self._activation(spec.name, "", array, number_format(elem, None), samples)

        def observe(node: Node, name: str, value: Value) -> Value:
            tensor = numeric(value) if name in self._wanted else None
            if tensor is not None:
                form = _format(model, node, value)
                self._activation(name, node.name, to_numpy(tensor), form, samples)
            return value

        def intercept(node: Node, arguments: list[Value], compute: Compute) -> Sequence[Value]:
            layer = self.layers.matrix.get(id(node.proto))
            if layer is None:
                return compute(arguments)
            product = build(node, arguments, layer.position)
            y = product.multiply(product.x, product.weight)
            x_axis = self._axis(f"{layer.name} inputs", tuple(product.x.shape), samples)
            y_axis = self._axis(f"{layer.name} outputs", tuple(y.shape), samples)
            if self._watching:
                if layer.name not in self.ranges:
                    weight = product.weight.cpu().numpy()
                    self.ranges[layer.name] = LayerRange(layer.name, layer.site, weight, x_axis, y_axis)
                self.ranges[layer.name].inputs.add(product.x.cpu().numpy())
                self.ranges[layer.name].outputs.add(y.cpu().numpy())
            return compute(arguments)

        model.run(feeds, numbers, observer=observe, interceptor=intercept)

    def _activation(self, name: str, layer: str, array: Array, form: NumberFormat, samples: int) -> None:
        axis = self._axis(name, array.shape, samples)
        if not self._watching:
            return
        if name not in self.held:
            elements = array.size // samples if axis is not None else array.size
            self.held[name] = ActivationRange(name, layer, elements, form, axis)
        self.held[name].values.add(array)

    def _axis(self, name: str, shape: tuple[int, ...], samples: int) -> int | None:
        self._shapes[name] = shape
        if name in self._axes:
            return self._axes[name]
        if shape and shape[0] % samples == 0:
            return 0
        return next((axis for axis, size in enumerate(shape) if size == samples), None)


def _format(model: Model, node: Node, value: Value) -> NumberFormat:
    """How the graph holds what *node* made: codes, float words, or the codes behind a QONNX quantizer's numbers."""
    if node.op_type in ("Quant", "IntQuant", "BipolarQuant"):
        made = numeric(value)
        shape = () if made is None else tuple(made.shape)
        form = quantizer_format([node], model.program, model.program.graph, shape)
        if form is not None and not form.per_channel:
            return form
    return number_format(element_type(value) or TensorProto.FLOAT, None)


def _repeated(model: Model, feeds: Feeds, size: int) -> dict[str, Array]:
    """The first sample of a batch, *size* times."""
    made = {}
    for spec in model.inputs:
        array = np.asarray(feeds[spec.name])
        if spec.batch_axis is not None:
            array = np.take(array, [0] * size, axis=spec.batch_axis)
        made[spec.name] = array
    return made


def _growing(first: tuple[int, ...], second: tuple[int, ...]) -> int | None:
    """The one axis on which two shapes differ."""
    if len(first) != len(second):
        return None
    axes = [axis for axis, sizes in enumerate(zip(first, second, strict=True)) if sizes[0] != sizes[1]]
    return axes[0] if len(axes) == 1 else None
