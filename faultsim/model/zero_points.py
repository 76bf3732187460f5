"""Which code of a stored integer tensor stands for 0, as the graph reads it. What its step is stands in `reading`."""

import numpy as np
from numpy.typing import NDArray

from faultsim.model.graph import Graph, Node, Program
from faultsim.model.reading import Use, axis_before, channel_axis, constant

WEIGHTS = {
    "DequantizeLinear": (0, 2),
    "QLinearConv": (3, 5),
    "QLinearMatMul": (3, 5),
    "QGemm": (3, 5),
    "ConvInteger": (1, 3),
    "MatMulInteger": (1, 3),
    "MatMulIntegerToFloat": (1, 5),
    "DynamicQuantizeMatMul": (1, 3),
    "QAttention": (1, 7),
}
"""By op: which input is a weight's codes, and which is their zero point."""


def zero_of(
    chain: list[Node], use: Use, program: Program, graph: Graph, shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """Return the code of 0, of a shape that broadcasts against the tensor; None where no op names one.

    Args:
        chain: The ops that carry the tensor to the one that computes with it.
        use: That one.
        program: The model.
        graph: What can be seen from there.
        shape: Of the tensor.
    """
    for at, node in enumerate([*chain, use.node]):
        codes, position = WEIGHTS.get(node.op_type, (0, -1))
        if position < 0 or (node is use.node and at == len(chain) and use.position != codes):
            continue
        zero = constant(node.inputs[position], program, graph) if len(node.inputs) > position else None
        if zero is None:
            return None
        return _laid_out(np.asarray(zero, dtype=np.float64), node, chain[:at], use, shape)
    return _looked_up(use.node, program, graph) if use.node.op_type == "Gather" else None


def _laid_out(
    zero: NDArray[np.float64], node: Node, chain: list[Node], use: Use, shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    if zero.size == 1:
        return zero.reshape(())
    rank = len(shape)
    dequantizes = node.op_type == "DequantizeLinear"
    axis = int(node.attributes.get("axis", 1)) if dequantizes else channel_axis([], use, shape)
    axis %= max(rank, 1)
    block = int(node.attributes.get("block_size", 0)) if dequantizes else 0
    if block and not chain and zero.ndim == rank:
        wide = np.repeat(zero, block, axis)[tuple(slice(0, size) for size in shape)]
        return wide if wide.shape == shape else None
    axis = axis_before(chain, axis, rank)
    if zero.ndim == 1 and rank > axis and shape[axis] == zero.size:
        return zero.reshape([-1 if i == axis else 1 for i in range(rank)])
    return None


def _looked_up(node: Node, program: Program, graph: Graph) -> NDArray[np.float64] | None:
    """The zero point of codes that are looked up first and dequantized after."""
    for reader in graph.nodes:
        if reader.op_type == "DequantizeLinear" and len(reader.inputs) > 2 and reader.inputs[0] == node.outputs[0]:
            zero = constant(reader.inputs[2], program, graph)
            return None if zero is None or zero.size != 1 else np.asarray(zero, np.float64).reshape(())
    return None
