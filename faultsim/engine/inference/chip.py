"""Runs a network on one chip whose faults act while it computes. Which laws there are is told in `inference`.

In every matrix-vector layer: DACs and input noise, the product (array by array where the layer is spread over several),
noise of the weights, output noise, ADCs, the sum over the arrays, stuck outputs, and then what the op itself
does with a product: its bias, its rescaling. The laws know that order; how they are listed does not matter.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.engine.inference.activations import Activations
from faultsim.engine.inference.calibrate import batch_size
from faultsim.engine.inference.following import Following
from faultsim.engine.inference.layers import Layers, MatrixLayer
from faultsim.engine.inference.product import Product
from faultsim.engine.inference.products import build
from faultsim.errors import ModelError, OptionError
from faultsim.inference import Calibration, Effect, LayerLaw, LayerRange, Place, StuckOutput, Upset, WeightReadNoise
from faultsim.inference.base import Stage
from faultsim.model import Model
from faultsim.model.nodes import Node
from faultsim.model.run import Compute
from faultsim.model.values import Codes, Value

Array = NDArray[Any]
Acting = Sequence[tuple[Effect, LayerLaw]]


class Chip:
    """A model under the numbers and the effects of one chip; it runs one batch at a time."""

    def __init__(
        self,
        model: Model,
        numbers: Mapping[str, Array],
        effects: Sequence[Effect],
        calibration: Calibration,
        layers: Layers,
    ) -> None:
        """Draw what belongs to the chip as a whole.

        Args:
            model: The model.
            numbers: The numbers that the chip holds, by site; the model's own elsewhere.
            effects: The laws.
            calibration: Ranges on clean data.
            layers: The model's matrix-vector layers.

        Raises:
            OptionError: If two laws do not agree on the arrays' rows or on the activations' bits.
        """
        self._model, self._numbers = model, dict(numbers)
        self._calibration, self._layers = calibration, layers
        active = [effect for effect in effects if not effect.law.is_null]
        found = [(effect, effect.law) for effect in active if isinstance(effect.law, LayerLaw)]
        self._products: Acting = sorted(found, key=lambda item: item[1].order)
        rows = {law.array_rows for _, law in self._products if law.array_rows is not None}
        if len(rows) > 1:
            raise OptionError(f"the arrays of one chip have one number of rows, got {sorted(rows)}")
        self._rows = next(iter(rows), None)
        self._peaks: dict[str, list[NDArray[np.float32]]] = {}
        self._activations = Activations(calibration.activations, active)
        noisy = [law for _, law in self._products if isinstance(law, WeightReadNoise)]
        bits = any(isinstance(law, StuckOutput) and law.bit is not None for _, law in self._products)
        self._following = Following(layers, noisy, steps=bits)
        self._batch, self._start = 1, 0
        self._calls: Counter[str] = Counter()

    @property
    def upsets(self) -> tuple[Upset, ...]:
        """The upsets of activations that strike every inference."""
        return self._activations.upsets

    def run(self, feeds: Mapping[str, Array], start: int = 0) -> dict[str, Any]:
        """Return the outputs by name for a batch whose first sample is number *start* of the data set.

        Raises:
            ModelError: If a node fails, or a layer runs that did not when the model was calibrated.
            DataError: If an input is missing or unknown.
        """
        self._batch, self._start = batch_size(self._model, feeds), start
        self._calls.clear()
        try:
            return self._model.run(
                self._activations.of_inputs(feeds, self._batch),
                self._numbers,
                observer=self._observe if self._activations else None,
                interceptor=self._intercept if self._products else None,
            )
        finally:
            self._following.clear()

    def _observe(self, node: Node, name: str, value: Value) -> Value:
        return self._activations.of_output(name, value, self._batch)

    def _intercept(self, node: Node, arguments: list[Value], compute: Compute) -> Sequence[Value]:
        layer = self._layers.matrix.get(id(node.proto))
        if layer is None:
            results = compute(arguments)
            self._following.pass_on(node, arguments, results, compute)
            return results
        acting = [(e, law) for e, law in self._products if e.sites is None or layer.site in e.sites]
        return self._layer(layer, node, arguments, acting, compute) if acting else compute(arguments)

    def _layer(
        self, layer: MatrixLayer, node: Node, arguments: list[Value], acting: Acting, compute: Compute
    ) -> Sequence[Value]:
        ranges = self._calibration.layers.get(layer.name)
        if ranges is None:
            raise ModelError(f"layer {layer.name!r} did not run on the samples that were calibrated on; give more")
        product = build(node, arguments, layer.position)
        call = self._calls[layer.name]
        self._calls[layer.name] += 1
        place = Place(
            layer=layer.name if call == 0 else f"{layer.name} call {call}",
            ranges=ranges,
            input_peaks=lambda: _numpy(product.x.abs().amax(product.shape.vector_axes, keepdim=True)),
            batch=self._batch,
            start=self._start,
            sample_axis=ranges.input_axis,
        )
        x = _acted(product.x, "input", acting, place)
        place = replace(place, sample_axis=ranges.output_axis, channel_axis=product.shape.channel_axis)
        total = self._sum(layer, node, arguments, acting, product, x, place)
        place = replace(place, step=self._step(layer, arguments, product, total.ndim))
        if not all(isinstance(law, StuckOutput) for _, law in acting):
            return product.finish(_acted(total, "output", acting, place))
        stuck = _acted(total.clone(), "output", acting, place)
        return _where(stuck != total, product.finish(stuck), compute(arguments))

    def _sum(
        self,
        layer: MatrixLayer,
        node: Node,
        arguments: list[Value],
        acting: Acting,
        product: Product,
        x: Tensor,
        place: Place,
    ) -> Tensor:
        """The outputs of all arrays of a layer, added up."""
        argument = arguments[layer.position]
        spreads = {id(law): self._following.std(law, node, layer.position, argument) for law in self._following.laws}
        count = product.shape.summands(product.weight)
        size = min(self._rows or count, count)
        bounds = [(first, min(first + size, count)) for first in range(0, count, size)]
        total: Tensor | None = None
        for tile, (first, last) in enumerate(bounds):

            def variance(law: WeightReadNoise, first: int = first, last: int = last) -> Array | None:
                std = spreads.get(id(law))
                return None if std is None else _numpy(product.variance(std, x, first, last))

            y = product.outputs(x, first, last)
            peaks = self._weight_peaks(place.ranges, product, bounds, y.ndim)[tile]
            where = replace(place, tile=tile, tiles=len(bounds), weight_peaks=peaks, variance=variance)
            y = _acted(y, "tile", acting, where)
            total = y if total is None else total.add_(y)
        assert total is not None
        return total

    def _weight_peaks(
        self, ranges: LayerRange, product: Product, bounds: Sequence[tuple[int, int]], rank: int
    ) -> list[NDArray[np.float32]]:
        """Largest fault-free weight of each channel of a layer, array by array."""
        if ranges.name not in self._peaks:
            weight = torch.from_numpy(ranges.weight)
            parts = [product.shape.cut(weight, first, last)[0] for first, last in bounds]
            self._peaks[ranges.name] = [_numpy(product.shape.peaks(part, rank).float()) for part in parts]
        return self._peaks[ranges.name]

    def _step(self, layer: MatrixLayer, arguments: list[Value], product: Product, rank: int) -> Array | None:
        """The unit of the layer's integer accumulator, None where it has none."""
        if product.step is not None:
            return _numpy(product.step)
        if layer.position > 1:
            return None
        inputs, weights = (self._following.step(arguments[i]) for i in (1 - layer.position, layer.position))
        if inputs is None or weights is None or inputs.amin() != inputs.amax():
            return None
        return _numpy(inputs.amax() * product.shape.peaks(product.orient(weights), rank) * abs(product.gain))


def _acted(values: Tensor, stage: Stage, acting: Acting, place: Place) -> Tensor:
    """Return *values* after the laws of one stage, a new tensor unless there is none."""
    laws = [(effect, law) for effect, law in acting if law.stage == stage]
    if not laws:
        return values
    array = _numpy(values.clone() if stage == "input" else values)
    for effect, law in laws:
        array = law.act(array, place, effect)
    return torch.from_numpy(np.ascontiguousarray(array)).to(device=values.device, dtype=values.dtype)


def _where(changed: Tensor, found: Sequence[Value], own: Sequence[Value]) -> Sequence[Value]:
    """Return what the op itself computes, to the last bit, but for the outputs that a law has changed."""
    kept: list[Value] = []
    for new, old in zip(found, own, strict=True):
        if isinstance(new, Codes) and isinstance(old, Codes) and new.values.shape == changed.shape:
            kept.append(Codes(torch.where(changed, new.values, old.values), new.elem_type))
        elif isinstance(new, Tensor) and isinstance(old, Tensor) and new.shape == changed.shape:
            kept.append(torch.where(changed, new, old))
        else:
            kept.append(new)
    return kept


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().cpu().contiguous().numpy()
