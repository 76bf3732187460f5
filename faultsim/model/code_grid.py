"""What the codes of a stored integer tensor stand for: the step between two, and the code of 0. No format here."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from faultsim.model.constants import constant, origin
from faultsim.model.follow import Step, Way
from faultsim.model.graph import Graph, Node, Program
from faultsim.model.layout import axes_behind, axis_before
from faultsim.model.packed import PACKED, default_zero, in_blocks, is_packed
from faultsim.model.reading import Use, channel_axis
from faultsim.model.roles import CODES, LAST_AXIS, PICKS, WIDE_BIASES, CodeInputs
from faultsim.model.values import to_numpy

Array = NDArray[np.float64]


def scale_of(way: Way, use: Use, program: Program, graph: Graph, shape: tuple[int, ...]) -> Array | None:
    """Return the step between two codes, of a shape that broadcasts against the tensor; None where no op names one.

    Args:
        way: The way of the tensor to the op that computes with it.
        use: That one.
        program: The model.
        graph: What can be seen from there.
        shape: Of the tensor.
    """
    if WIDE_BIASES.get(use.node.op_type) == use.position:
        found = [constant(use.node.inputs[i], program, graph) for i in (1, 4)]
        inputs, weights = (None if one is None else np.asarray(one, dtype=np.float64) for one in found)
        return None if inputs is None or weights is None else inputs * weights
    if _reads_blocks(way, use):
        return _of_blocks(use, program, graph, shape, zero=False)
    for before, node, at in _readers(way, use, zeros=True):
        if at.scale is not None:
            return _along(at.scale, node, before, use, program, graph, shape)
    for before, step in _written_out(way):
        if step.node.op_type != "Sub":
            factor = _partner(step, before, program, graph, shape)
            return 1 / factor if factor is not None and step.node.op_type == "Div" else factor
    return _looked_up(use, program, graph, zero=False)


def zero_of(way: Way, use: Use, program: Program, graph: Graph, shape: tuple[int, ...]) -> Array | None:
    """Return the code of 0, of a shape that broadcasts against the tensor; None where no op names one.

    The arguments are those of `scale_of`.
    """
    if _reads_blocks(way, use):
        return _of_blocks(use, program, graph, shape, zero=True)
    for before, node, at in _readers(way, use):
        return _along(at.zero, node, before, use, program, graph, shape)
    for before, step in _written_out(way):
        return _partner(step, before, program, graph, shape) if step.node.op_type == "Sub" else None
    return _looked_up(use, program, graph, zero=True)


def _written_out(way: Way) -> Iterator[tuple[list[Node], Step]]:
    """The ops that dequantize codes in plain arithmetic, ``(Cast(codes) - zero) * scale``, with those before them."""
    for index, step in enumerate(way.steps):
        before, name = way.chain[:index], step.node.op_type
        if not step.makes:
            continue
        if name == "Sub" and step.position == 0 and before == way.stored:
            yield before, step
            continue
        if name == "Mul" or (name == "Div" and step.position == 0):
            yield before, step
        return


def _partner(step: Step, before: list[Node], program: Program, graph: Graph, shape: tuple[int, ...]) -> Array | None:
    """The other input of an arithmetic op as it lies along the tensor."""
    key = graph.constants.get(origin(step.node.inputs[1 - step.position], graph, {"Identity", "Cast", "CastLike"}))
    axes = axes_behind([node for node in before if node.op_type != "Sub"], shape, program, graph)
    if key is None or axes is None:
        return None
    numbers = np.asarray(to_numpy(program.tensors[key]), dtype=np.float64)
    if numbers.size == 1:
        return numbers.reshape(())
    if numbers.ndim > len(axes.stored):
        return None
    sizes = (1,) * (len(axes.stored) - numbers.ndim) + numbers.shape
    place = [stored for stored, size in zip(axes.stored, sizes, strict=True) if size > 1]
    if None in place or any(shape[axis] != size for axis, size in zip(axes.stored, sizes, strict=True) if size > 1):  # type: ignore[index]
        return None
    if place != sorted(place):  # type: ignore[type-var]
        return None
    return numbers.reshape([size if axis in place else 1 for axis, size in enumerate(shape)])


def _readers(way: Way, use: Use, *, zeros: bool = False) -> Iterator[tuple[list[Node], Node, CodeInputs]]:
    """The ops that read the codes as numbers, with those before them; with *zeros* also those that take them off."""
    chain = way.stored
    for index, node in enumerate(chain if way.makes else [*chain, use.node]):
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
    if node.op_type in LAST_AXIS and 1 < numbers.ndim <= rank:  # one row for each direction
        laid = numbers.reshape(*numbers.shape[:-1], *(1,) * (rank - numbers.ndim), numbers.shape[-1])
        fits = all(size in (1, whole) for size, whole in zip(laid.shape, shape, strict=True))
        return laid if not before and fits else None
    if node.op_type == "DequantizeLinear":
        axis, block = int(node.attributes.get("axis", 1)), int(node.attributes.get("block_size", 0))
        if block and not before and numbers.ndim == rank:
            wide = np.repeat(numbers, block, axis)[tuple(slice(0, size) for size in shape)]
            return wide if wide.shape == shape else None
        stored = 0 if rank == 1 and not before else axis_before(before, axis, shape, program, graph)
    else:
        stored = channel_axis(before, use, shape, program, graph)
    if numbers.ndim == 1 and stored is not None and shape[stored] == numbers.size:
        return numbers.reshape([-1 if i == stored else 1 for i in range(rank)])
    return None


def _reads_blocks(way: Way, use: Use) -> bool:
    return not way.chain and PACKED.get(use.node.op_type, (None,))[0] == use.position


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
    if use.node.op_type not in PICKS:
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
