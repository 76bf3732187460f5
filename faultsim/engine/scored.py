"""Which output of a graph is scored, and how its numbers become logits or probabilities. Nothing runs here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.model import Model
from faultsim.model.constants import constant
from faultsim.model.graph import Node
from faultsim.model.signature import output_shapes

_MOVES = frozenset(
    {
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Cast",
        "Transpose",
        "QuantizeLinear",
        "DequantizeLinear",
    }
)
_PLACES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose"})
"""Ops that leave every number as it is."""
_CODED = {"QuantizeLinear": 1, "QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QLinearMul": 6, "QGemm": 7,
          "QLinearSoftmax": 3, "QLinearSigmoid": 3, "QLinearLeakyRelu": 3, "QLinearGlobalAveragePool": 3,
          "QLinearAveragePool": 3, "QLinearConcat": 0}  # fmt: skip
"""Ops that make codes, and where the scale of these lies among their inputs; the zero point follows it."""


@dataclass(frozen=True)
class ScoredOutput:
    """The output that a task judges.

    Attributes:
        name: Its name in the graph.
        is_probability: Whether the graph ends in a softmax or a sigmoid.
        scale: For integer codes, their step in real units; 1 for floats.
        zero_point: For integer codes, the code of 0.
        shape: As the graph declares it; empty where it does not.
        batch_axis: The axis that counts the samples in the graph.
    """

    name: str
    is_probability: bool
    scale: float
    zero_point: float
    shape: tuple[int | str | None, ...]
    batch_axis: int = 0

    def real(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return the output in real units, floating point or what it counts in, samples first."""
        if self.batch_axis and output.ndim > self.batch_axis:
            output = np.moveaxis(output, self.batch_axis, 0)
        if output.dtype.kind in "iu" and self._codes:
            return ((output.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)).astype(
                np.float32
            )
        return (
            output
            if output.dtype in (np.float32, np.float64) or output.dtype.kind in "iub"
            else output.astype(np.float32)
        )

    def real_tensor(self, output: torch.Tensor) -> torch.Tensor:
        """Return the output in real units, samples first, differentiable."""
        if self.batch_axis and output.ndim > self.batch_axis:
            output = output.movedim(self.batch_axis, 0)
        return (output - self.zero_point) * self.scale if self._codes else output

    @property
    def _codes(self) -> bool:
        return self.scale != 1 or self.zero_point != 0


def scored_output(model: Model, name: str | None = None) -> ScoredOutput:
    """Return the output called *name*, or the first one.

    Raises:
        OptionError: If there is no such output.
    """
    chosen = model.output_names[0] if name is None else name
    if chosen not in model.output_names:
        raise OptionError(f"{model.name} has no output {chosen!r}; its outputs are {', '.join(model.output_names)}")
    makers: dict[str, Node] = {o: n for n in model.program.graph.nodes for o in n.outputs if o}
    scale, zero, probability = 1.0, 0.0, False
    node = makers.get(chosen)
    first = True
    while node is not None:
        if first and node.op_type in _CODED:
            at = _CODED[node.op_type]
            found = [_scalar(model, i) for i in node.inputs[at : at + 2]]
            scale = found[0] if found and found[0] is not None else 1.0
            zero = found[1] if len(found) > 1 and found[1] is not None else 0.0
        first = first and node.op_type in _PLACES
        if node.op_type in ("Softmax", "Sigmoid", "QLinearSoftmax", "QLinearSigmoid"):
            probability = True
            break
        node = makers.get(node.inputs[0]) if node.op_type in _MOVES and node.inputs else None
    declared = output_shapes(model.proto).get(chosen, ())
    return ScoredOutput(chosen, probability, scale, zero, declared, model.axes.outputs.get(chosen, 0))


def _scalar(model: Model, name: str) -> float | None:
    array = constant(name, model.program, model.program.graph) if name else None
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
