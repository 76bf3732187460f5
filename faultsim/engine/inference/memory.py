"""Which activations of a graph a chip writes to memory. Read off the graph; nothing runs."""

from collections import defaultdict
from collections.abc import Mapping, Set

import numpy as np

from faultsim.model import Model
from faultsim.model.constants import constant
from faultsim.model.nodes import Graph, Node, needs
from faultsim.model.roles import QUANTIZED_OPS

_MOVES = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Transpose", "Slice", "Split", "Expand",
     "DequantizeLinear", "Cast", "CastLike"}
)  # fmt: skip
"""Ops that write no new numbers: they read, or move, what is in memory already."""

_FUSED = frozenset(
    {"BatchNormalization", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu",
     "Selu", "Softplus", "Gelu", "Mish", "Swish", "BiasGelu", "FastGelu", "QuickGelu", "QuantizeLinear", "Quant",
     "IntQuant", "BipolarQuant", "FloatQuant", "Trunc"}
)  # fmt: skip
"""Ops that an accelerator applies on the way to memory."""

_WITH_CONSTANT = frozenset({"Add", "Sub", "Mul", "Div"})
"""Ops of `_FUSED`'s kind where all but one operand is a constant: bias and scale."""


def held_activations(model: Model) -> frozenset[str]:
    """Return the names of the main graph's activations that a chip writes to memory, inputs included.

    That is what a layer makes, behind the activation function, normalisation and quantization that follow it alone:
    these are taken as fused. Reshaped and dequantized values are the same memory, read again. What bodies of If, Loop
    and functions make inside is not listed.
    """
    graph = model.program.graph
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in needs(node):
            readers[name].append(node)
    flowing = _from_inputs(graph, {spec.name for spec in model.declared})
    makers = {output: node for node in graph.nodes for output in node.outputs if output}
    moved = {output for node in graph.nodes if node.op_type in _MOVES for output in node.outputs}
    moved |= {output for output, node in makers.items() if _requantizes(node, makers, model)}
    return frozenset(name for name in flowing - moved if not _fused(name, graph, readers, flowing))


def not_held_inside(model: Model) -> tuple[str, ...]:
    """Return the nodes whose insides `held_activations` does not list: If, Loop and calls of functions."""
    nodes = model.program.graph.nodes
    return tuple(node.name for node in nodes if node.body is not None or any(True for _ in node.subgraphs()))


def quantized_inputs(model: Model) -> frozenset[str]:
    """Return the names of the inputs that a quantized op reads, moved perhaps: their integers are codes, no indices."""
    reads: set[str] = set()
    for node in reversed(model.program.graph.nodes):
        if node.op_type in QUANTIZED_OPS or (node.op_type in _MOVES and reads & set(node.outputs)):
            reads.update(node.inputs[:1])
    return frozenset(spec.name for spec in model.declared if spec.dtype.name in ("int8", "uint8")) & reads


def _from_inputs(graph: Graph, inputs: set[str]) -> set[str]:
    """Names that depend on the numbers of the graph's inputs, not on their sizes alone."""
    found = set(inputs)
    for node in graph.nodes:
        if needs(node) & found and node.op_type not in ("Shape", "Size"):
            found.update(output for output in node.outputs if output)
    return found


def _requantizes(node: Node, makers: Mapping[str, Node], model: Model) -> bool:
    """Whether *node* gives codes back that were only moved since they were dequantized with the same scale."""
    if node.op_type != "QuantizeLinear":
        return False
    before = makers.get(node.inputs[0])
    while before is not None and before.op_type in _MOVES - {"DequantizeLinear"} and before.inputs:
        before = makers.get(before.inputs[0])
    if before is None or before.op_type != "DequantizeLinear" or len(before.inputs) != len(node.inputs):
        return False
    graph, program = model.program.graph, model.program
    pairs = zip(node.inputs[1:], before.inputs[1:], strict=True)
    found = [[constant(name, program, graph) for name in pair] for pair in pairs]
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in found)


def _fused(name: str, graph: Graph, readers: Mapping[str, list[Node]], flowing: Set[str]) -> bool:
    """Whether one op alone reads *name*, moved perhaps, and changes it before it is written."""
    while name not in graph.output_names and len(readers.get(name, ())) == 1:
        node = readers[name][0]
        if node.op_type in _WITH_CONSTANT:
            return node.inputs.count(name) == 1 and all(one == name or one not in flowing for one in node.inputs)
        if not node.inputs or node.inputs[0] != name:
            return False
        if node.op_type in _FUSED:
            return True
        if node.op_type not in _MOVES or node.op_type == "DequantizeLinear" or len(node.outputs) != 1:
            return False
        name = node.outputs[0]
    return False
