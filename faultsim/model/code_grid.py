"""What the codes of a stored integer tensor stand for: the step between two, and the code of 0. No format here."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from faultsim.model.graph import Graph, Node, Program
from faultsim.model.packed import PACKED, default_zero, in_blocks, is_packed
from faultsim.model.reading import Use, axis_before, channel_axis, constant
from faultsim.model.roles import CODES, WIDE_BIASES, CodeInputs

Array = NDArray[np.float64]


def scale_of(chain: list[Node], use: Use, program: Program, graph: Graph, shape: tuple[int, ...]) -> Array | None:
    """Return the step between two codes, of a shape that broadcasts against the tensor; None where no op names one.

    Args:
        chain: The ops that carry the tensor to the one that computes with it.
        use: That one.
        program: The model.
        graph: What can be seen from there.
        shape: Of the tensor.
    """
    if WIDE_BIASES.get(use.node.op_type) == use.position:
        found = [constant(use.node.inputs[i], program, graph) for i in (1, 4)]
        inputs, weights = (None if one is None else np.asarray(one, dtype=np.float64) for one in found)
        return None if inputs is None or weights is None else inputs * weights
    if _reads_blocks(chain, use):
        return _of_blocks(use, program, graph, shape, zero=False)
    for before, node, at in _readers(chain, use, zeros=True):
        if at.scale is not None:
            return _along(at.scale, node, before, use, program, graph, shape)
    return _looked_up(use, program, graph, zero=False)


def zero_of(chain: list[Node], use: Use, program: Program, graph: Graph, shape: tuple[int, ...]) -> Array | None:
    """Return the code of 0, of a shape that broadcasts against the tensor; None where no op names one.

    The arguments are those of `scale_of`.
    """
    if _reads_blocks(chain, use):
        return _of_blocks(use, program, graph, shape, zero=True)
    for before, node, at in _readers(chain, use):
        return _along(at.zero, node, before, use, program, graph, shape)
    return _looked_up(use, program, graph, zero=True)


def _readers(chain: list[Node], use: Use, *, zeros: bool = False) -> Iterator[tuple[list[Node], Node, CodeInputs]]:
    """The ops that read the codes as numbers, with those before them; with *zeros* also those that take them off."""
    for index, node in enumerate([*chain, use.node]):
        position = use.position if index == len(chain) else 0
        for codes, at in CODES.get(node.op_type, {}).items():
            if position == codes or (zeros and position == at.zero):
                yield chain[:index], node, at


def _along(
    position: int, node: Node, before: list[Node], use: Use, program: Program, graph: Graph, shape: tuple[int, ...]
) -> Array | None:
    """An input of *node* as it lies along the tensor: one number, one a channel, or one a block."""
    given = constant(node.inputs[position], program, graph) if position < len(node.inputs) else None
    if given is None:
        return None
    numbers = np.asarray(given, dtype=np.float64)
    if numbers.size == 1:
        return numbers.reshape(())
    rank = len(shape)
    dequantizes = node.op_type == "DequantizeLinear"
    axis = int(node.attributes.get("axis", 1)) if dequantizes else channel_axis([], use, shape)
    axis %= max(rank, 1)
    block = int(node.attributes.get("block_size", 0)) if dequantizes else 0
    if block and not before and numbers.ndim == rank:
        wide = np.repeat(numbers, block, axis)[tuple(slice(0, size) for size in shape)]
        return wide if wide.shape == shape else None
    axis = axis_before(before, axis, rank)
    if numbers.ndim == 1 and rank > axis and shape[axis] == numbers.size:
        return numbers.reshape([-1 if i == axis else 1 for i in range(rank)])
    return None


def _reads_blocks(chain: list[Node], use: Use) -> bool:
    return not chain and PACKED.get(use.node.op_type, (None,))[0] == use.position


def _of_blocks(use: Use, program: Program, graph: Graph, shape: tuple[int, ...], *, zero: bool) -> Array | None:
    """Steps or codes of 0 of what MatMulNBits and GatherBlockQuantized read; None for bytes of several codes."""
    node = use.node
    value = program.tensors.get(graph.constants.get(node.inputs[use.position], ""))
    group_index = node.inputs[4:5] if node.op_type == "MatMulNBits" else ()
    if is_packed(value, node, use.position) or any(group_index):  # columns in an order of their own
        return None
    name = node.inputs[2 + zero] if len(node.inputs) > 2 + zero else ""
    if not name:
        return np.array(default_zero(value, node)) if zero else None
    given = constant(name, program, graph)
    return None if given is None else in_blocks(node, given, shape)


def _looked_up(use: Use, program: Program, graph: Graph, *, zero: bool) -> Array | None:
    """The same of codes that are looked up first and read as numbers after: that of the op that does."""
    if use.node.op_type != "Gather":
        return None
    for reader in graph.nodes:
        if reader.op_type not in ("DequantizeLinear", "QLinearAdd", "QLinearMul"):
            continue
        for codes, at in CODES[reader.op_type].items():
            position = at.zero if zero else at.scale
            if position is None or max(codes, position) >= len(reader.inputs):
                continue
            if reader.inputs[codes] == use.node.outputs[0]:
                found = constant(reader.inputs[position], program, graph)
                return None if found is None or found.size != 1 else np.asarray(found, np.float64).reshape(())
    return None
