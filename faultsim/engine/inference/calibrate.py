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
from faultsim.engine.inference.sample_axes import Take, sample_axes
from faultsim.errors import DataError
from faultsim.formats.base import NumberFormat
from faultsim.inference import ActivationRange, Calibration, LayerRange, SampleAxis
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
    """Watches runs: first for where the samples lie, then for magnitudes."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.ranges: dict[str, LayerRange] = {}
        self.held: dict[str, ActivationRange] = {}
        self._axes: dict[str, SampleAxis | None] = {}
        self._take: Take | None = None
        self._wanted: frozenset[str] = frozenset()
        self._quantized: frozenset[str] = frozenset()

    def find_axes(self, model: Model, feeds: Feeds, numbers: Mapping[str, Array] | None) -> None:
        """Find where the samples of every layer and activation lie."""
        self._wanted = held_activations(model)
        self._quantized = quantized_inputs(model)

        def watch(given: Feeds, samples: int, take: Take) -> None:
            self._take = take
            self.run(model, given, numbers, samples)

        self._axes = sample_axes(model, feeds, watch)
        self._take = None

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
            ins, outs = product.x.cpu().numpy(), y.cpu().numpy()
            names = f"{layer.name} inputs", f"{layer.name} outputs"
            if self._take is not None:
                self._take(names[0], ins)
                self._take(names[1], outs)
                return compute(arguments)
            if layer.name not in self.ranges:
                of_ins, of_outs = self._axis(names[0], ins.shape, samples), self._axis(names[1], outs.shape, samples)
                weight = product.weight.cpu().numpy()
                self.ranges[layer.name] = LayerRange(layer.name, layer.site, weight, of_ins, of_outs)
            self.ranges[layer.name].inputs.add(ins)
            self.ranges[layer.name].outputs.add(outs)
            return compute(arguments)

        model.run(feeds, numbers, observer=observe, interceptor=intercept)

    def _activation(self, name: str, layer: str, array: Array, form: NumberFormat, samples: int) -> None:
        if self._take is not None:
            self._take(name, array)
            return
        if name not in self.held:
            axis = self._axis(name, array.shape, samples)
            elements = array.size // samples if axis is not None else array.size
            self.held[name] = ActivationRange(name, layer, elements, form, axis)
        self.held[name].values.add(array)

    def _axis(self, name: str, shape: tuple[int, ...], samples: int) -> SampleAxis | None:
        """Where the samples lie; of what no run has told, the first axis that can count them."""
        if name in self._axes:
            return self._axes[name]
        if shape and shape[0] % samples == 0:
            return SampleAxis(0)
        return next((SampleAxis(axis) for axis, size in enumerate(shape) if size == samples), None)


def _format(model: Model, node: Node, value: Value) -> NumberFormat:
    """How the graph holds what *node* made: codes, float words, or the codes behind a QONNX quantizer's numbers."""
    if node.op_type in ("Quant", "IntQuant", "BipolarQuant"):
        made = numeric(value)
        shape = () if made is None else tuple(made.shape)
        form = quantizer_format([node], model.program, model.program.graph, shape)
        if form is not None and not form.per_channel:
            return form
    return number_format(element_type(value) or TensorProto.FLOAT, None)
