"""Follows numbers that belong to stored tensors through the ops that move and dequantize them, as a graph runs.

Two are followed: the read noise of each weight, from the stored tensor to the product; and the step between two codes,
from the op that dequantizes them. Both are arrays of the tensor's shape. No law lives here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from faultsim.engine.inference.layers import Layers
from faultsim.inference import WeightReadNoise
from faultsim.model.nodes import Node
from faultsim.model.ops._codes import along
from faultsim.model.run import Compute
from faultsim.model.values import Codes, Value, carried

_KEEP = frozenset({"Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc", "Clip", "Cast", "CastLike", "Identity"})
"""Carriers that leave every element in its place and its units."""


class Following:
    """What is known of the values of one run, by the identity of each value.

    Attributes:
        laws: The laws whose noise is followed.
    """

    def __init__(self, layers: Layers, laws: Sequence[WeightReadNoise], *, steps: bool) -> None:
        self.laws = tuple(laws)
        self._layers = layers
        self._steps = steps
        self._seen: dict[int, tuple[Value, dict[int, Tensor]]] = {}

    def clear(self) -> None:
        """Forget the values of the last run."""
        self._seen.clear()

    def std(self, law: WeightReadNoise, node: Node, position: int, argument: Value) -> Tensor | None:
        """Return the standard deviation of each number of an input of *node*, its shape; None where it has none."""
        found = self._of(argument).get(id(law))
        if found is not None:
            return found
        spread = law.std.get(self._layers.reads.get((id(node.proto), position), ""))
        return None if spread is None else torch.as_tensor(spread, dtype=torch.float32, device=_device(argument))

    def step(self, argument: Value) -> Tensor | None:
        """Return the step between two codes behind each number of an input, its shape; None for plain floats."""
        return self._of(argument).get(0)

    def pass_on(self, node: Node, arguments: list[Value], results: Sequence[Value], compute: Compute) -> None:
        """Take down what *node*, no layer itself, makes of what is followed."""
        if self._steps and node.op_type == "DequantizeLinear":
            scale = _scale(node, arguments)
            self._note(results[0], 0, scale.expand(tuple(carried(results[0]).shape)))  # type: ignore[arg-type]
        if id(node.proto) not in self._layers.carriers:
            return
        for law in self.laws:
            spreads = [self.std(law, node, i, argument) for i, argument in enumerate(arguments)]
            if spreads and any(one is not None for one in spreads[: len(spreads) if node.op_type == "Concat" else 1]):
                for result, spread in zip(results, _carried_through(node, arguments, spreads, compute), strict=False):
                    self._note(result, id(law), spread)
        steps = self.step(arguments[0]) if arguments and node.op_type not in ("DequantizeLinear", "Concat") else None
        if steps is not None:
            for result, spread in zip(results, _carried_through(node, arguments, [steps], compute), strict=False):
                self._note(result, 0, spread)

    def _of(self, value: Value) -> dict[int, Tensor]:
        return self._seen.get(id(value), (None, {}))[1]

    def _note(self, value: Value, key: int, tensor: Tensor) -> None:
        # The value is held on to: a freed one could leave its identity to another.
        self._seen.setdefault(id(value), (value, {}))[1][key] = tensor


def _carried_through(
    node: Node, arguments: list[Value], followed: Sequence[Tensor | None], compute: Compute
) -> list[Tensor]:
    """Return what a carrier makes of numbers of the shape of its first input (Concat: of each input)."""
    first = followed[0]
    if node.op_type == "Concat":
        parts = [
            torch.zeros_like(carried(argument)) if one is None else one  # type: ignore[arg-type]
            for argument, one in zip(arguments, followed, strict=True)
        ]
        return [carried(one) for one in compute(list(parts))]  # type: ignore[arg-type]
    assert first is not None
    if node.op_type in _KEEP:
        return [first]
    if node.op_type == "DequantizeLinear":
        return [first * _scale(node, arguments)]
    if node.op_type == "QuantizeLinear":
        return [first / _scale(node, arguments)]
    return [carried(one) for one in compute([first, *arguments[1:]])]  # type: ignore[arg-type]


def _scale(node: Node, arguments: list[Value]) -> Tensor:
    shape = tuple(carried(arguments[0]).shape)  # type: ignore[arg-type]
    axis, block = int(node.attributes.get("axis", 1)), int(node.attributes.get("block_size", 0))
    return along(carried(arguments[1]), shape, axis, block).float()  # type: ignore[arg-type]


def _device(value: Value) -> torch.device:
    tensor = value.values if isinstance(value, Codes) else value
    return tensor.device if isinstance(tensor, Tensor) else torch.device("cpu")
