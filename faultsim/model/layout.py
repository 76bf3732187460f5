"""Where the axes of a stored tensor lie behind the ops on its way, as far as the graph tells. Nothing runs here."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faultsim.model.constants import constant
from faultsim.model.nodes import Graph, Node, Program
from faultsim.model.roles import ARITHMETIC
from faultsim.model.values import Codes

Size = int | None
"""Numbers along an axis; None where the graph does not tell."""
Sizes = tuple[Size, ...]

_SAME = frozenset(
    {"Identity", "Clip", "Cast", "CastLike", "QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant", "FloatQuant",
     "BipolarQuant", "Trunc", "Dropout", "Round", "Floor", "Ceil", "Sign", "Neg", "Abs", "Exp", "Log", "Sqrt",
     "Reciprocal", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Softplus", "Softmax", "LogSoftmax", "Sin", "Cos",
     "Erf", "HardSigmoid", "HardTanh", "LpNormalization", "LayerNormalization"}
)  # fmt: skip
_SAME_RANK = frozenset({"Slice", "Split", "Concat", "Pad", "Tile", "GatherElements"})
_BROADCASTS = ARITHMETIC | {"Where", "Max", "Min", "Mean", "And", "Or"}


class Axes(NamedTuple):
    """The axes of a value: which of the stored tensor's each is (None: none of them alone), and its size."""

    stored: tuple[int | None, ...]
    sizes: Sizes


def axes_behind(chain: Sequence[Node], shape: Sequence[int], program: Program, graph: Graph) -> Axes | None:
    """Return the axes behind *chain*, None where the graph does not tell even how many there are.

    Args:
        chain: The ops that carry the tensor.
        shape: Of the tensor.
        program: The program.
        graph: What can be seen from these ops.
    """
    axes: Axes | None = Axes(tuple(range(len(shape))), tuple(shape))
    for node in chain:
        if axes is None:
            return None
        axes = _behind(node, axes, program, graph)
    return axes


def axis_before(chain: Sequence[Node], axis: int, shape: Sequence[int], program: Program, graph: Graph) -> int | None:
    """Return the axis of the tensor that lies at *axis* behind *chain*; None where no one axis is sure to lie there.

    A negative *axis* counts from the last one behind the chain.
    """
    axes = axes_behind(chain, shape, program, graph)
    if axes is None or not -len(axes.stored) <= axis < len(axes.stored):
        return None
    return axes.stored[axis]


def shape_of(name: str, program: Program, graph: Graph, known: dict[str, Sizes | None] | None = None) -> Sizes | None:
    """Return the sizes of a value that stored tensors alone make, None where the graph does not tell.

    *known* holds those that are told already, for use here.
    """
    known = {} if known is None else known
    if name not in known:
        known[name] = None  # a body may use a name again
        known[name] = _shape(name, program, graph, known) if len(known) < _MOST else None
    return known[name]


_MOST = 200
"""Values that are looked at for one shape: what is made of more is left untold."""


def _shape(name: str, program: Program, graph: Graph, known: dict[str, Sizes | None]) -> Sizes | None:
    if name in graph.constants:
        value = program.tensors[graph.constants[name]]
        held = value.values if isinstance(value, Codes) else value
        return None if isinstance(held, list) else tuple(np.shape(held))  # type: ignore[arg-type]
    maker = next((node for node in graph.nodes if name in node.outputs), None)
    if maker is None or not maker.inputs:
        return None
    if maker.op_type in ("MatMul", "Gemm"):
        return _product(maker, program, graph, known)
    if maker.op_type in _BROADCASTS:
        return _broadcast([shape_of(one, program, graph, known) for one in maker.inputs])
    before = shape_of(maker.inputs[0], program, graph, known)
    if before is None:
        return None
    axes = _behind(maker, Axes((None,) * len(before), before), program, graph)
    return None if axes is None else axes.sizes


def _product(node: Node, program: Program, graph: Graph, known: dict[str, Sizes | None]) -> Sizes | None:
    left, right = (shape_of(name, program, graph, known) for name in node.inputs[:2])
    if left is None or right is None or len(left) != 2 or len(right) != 2:
        return None
    rows, cols = (left[bool(node.attributes.get("transA", 0))], right[not node.attributes.get("transB", 0)])
    return rows, cols


def _broadcast(shapes: Sequence[Sizes | None]) -> Sizes | None:
    known = [shape for shape in shapes if shape is not None]
    if len(known) != len(shapes) or not known:
        return None
    rank = max(map(len, known))
    columns = zip(*[(1,) * (rank - len(shape)) + shape for shape in known], strict=True)
    return tuple(next((size for size in column if size != 1), 1) for column in columns)


def _behind(node: Node, axes: Axes, program: Program, graph: Graph) -> Axes | None:
    name, (stored, sizes) = node.op_type, axes
    rank = len(sizes)
    if name in _SAME:
        return axes
    if name == "Transpose":
        order = node.attributes.get("perm") or range(rank)[::-1]
        return Axes(tuple(stored[i] for i in order), tuple(sizes[i] for i in order)) if len(order) == rank else None
    if name in ("Unsqueeze", "Squeeze"):
        return _squeezed(node, axes, program, graph)
    if name in ("Reshape", "Flatten"):
        return _reshaped(axes, _target(node, sizes, program, graph))
    if name in _SAME_RANK:
        changed = _changed(node, program, graph)
        return Axes(stored, tuple(None if changed is None or i in changed else size for i, size in enumerate(sizes)))
    if name in _BROADCASTS or name == "Expand":
        return _spread(node, axes, program, graph)
    if name == "ScanInput":
        gone = node.attributes["axis"] % rank if rank else 0
        return _axes([pair for i, pair in enumerate(zip(*axes, strict=True)) if i != gone]) if rank else None
    if name.startswith("Reduce"):
        return _reduced(node, axes, program, graph)
    return None


def _axes_of(node: Node, rank: int, program: Program, graph: Graph) -> list[int] | None:
    """The axes that a node names, by attribute or by its second input; none where it names none."""
    given = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and node.inputs[1]:
        held = constant(node.inputs[1], program, graph)
        if held is None:
            return None
        given = held.reshape(-1).tolist()
    return [int(axis) % max(rank, 1) for axis in given or ()]


def _squeezed(node: Node, axes: Axes, program: Program, graph: Graph) -> Axes | None:
    rank = len(axes.sizes)
    if node.op_type == "Unsqueeze":
        named = [int(a) for a in node.attributes.get("axes") or ()]
        held = constant(node.inputs[1], program, graph) if len(node.inputs) > 1 and not named else None
        named = named or ([] if held is None else [int(a) for a in held.reshape(-1)])
        if not named:
            return None
        rank += len(named)
        fresh = {axis % rank for axis in named}
        if len(fresh) != len(named):
            return None
        rest = iter(zip(*axes, strict=True))
        return _axes([(None, 1) if i in fresh else next(rest) for i in range(rank)])
    gone = _axes_of(node, rank, program, graph)
    if gone is None or (not gone and None in axes.sizes):
        return None
    gone = gone or [i for i, size in enumerate(axes.sizes) if size == 1]
    return _axes([pair for i, pair in enumerate(zip(*axes, strict=True)) if i not in gone])


def _axes(pairs: Sequence[tuple[int | None, Size]]) -> Axes:
    return Axes(tuple(axis for axis, _ in pairs), tuple(size for _, size in pairs))


def _target(node: Node, sizes: Sizes, program: Program, graph: Graph) -> list[int] | None:
    if any(size is None for size in sizes):
        return None
    whole = [int(size or 0) for size in sizes]
    if node.op_type == "Flatten":
        axis = int(node.attributes.get("axis", 1))
        axis += len(whole) if axis < 0 else 0
        return [math.prod(whole[:axis]), math.prod(whole[axis:])]
    held = constant(node.inputs[1], program, graph) if len(node.inputs) > 1 else None
    target = node.attributes.get("shape") if held is None else held.reshape(-1).tolist()
    if target is None:
        return None
    keep = not node.attributes.get("allowzero", 0)
    made = [whole[i] if not size and keep and i < len(whole) else int(size) for i, size in enumerate(target)]
    rest = math.prod(size for size in made if size != -1)
    return [math.prod(whole) // rest if size == -1 and rest else size for size in made]


def _reshaped(axes: Axes, target: list[int] | None) -> Axes | None:
    """An axis is sure to be the same where as many numbers lie before it as did, and as many along it."""
    if target is None:
        return None
    before = {
        (math.prod(int(s or 0) for s in axes.sizes[:i]), size): stored
        for i, (stored, size) in enumerate(zip(*axes, strict=True))
        if size != 1
    }
    head = next(
        (i for i, sizes in enumerate(zip(axes.sizes, target, strict=False)) if sizes[0] != sizes[1]), len(target)
    )
    same = {i: axes.stored[i] for i in range(min(head, len(axes.stored)))}
    return _axes([(same.get(i, before.get((math.prod(target[:i]), n))), n) for i, n in enumerate(target)])


def _changed(node: Node, program: Program, graph: Graph) -> set[int] | None:
    """Axes whose size an op that keeps the rank may change; None where any may."""
    if node.op_type in ("Concat", "Split"):
        axis = int(node.attributes.get("axis", 0))
        return {axis} if axis >= 0 else None
    return None


def _spread(node: Node, axes: Axes, program: Program, graph: Graph) -> Axes | None:
    """Behind an op that lays its inputs over each other from the last axis on."""
    others: list[Sizes | None] = [shape_of(name, program, graph) for name in node.inputs]
    if node.op_type == "Expand":
        held = constant(node.inputs[1], program, graph)
        others = [None if held is None else tuple(int(size) for size in held.reshape(-1))]
    shapes = [other for other in others if other is not None]
    if len(shapes) != len(others):
        return None
    rank = max([len(axes.sizes), *map(len, shapes)])
    fresh = rank - len(axes.sizes)
    sizes = _broadcast([axes.sizes, *shapes])
    stored = ((None,) * fresh + axes.stored)[-rank:] if rank else ()
    return None if sizes is None else Axes(stored, sizes)


def _reduced(node: Node, axes: Axes, program: Program, graph: Graph) -> Axes | None:
    rank = len(axes.sizes)
    gone = _axes_of(node, rank, program, graph)
    if gone is None:
        return None
    gone = gone or list(range(rank))
    if node.attributes.get("keepdims", 1):
        return _axes([(None, 1) if i in gone else pair for i, pair in enumerate(zip(*axes, strict=True))])
    return _axes([pair for i, pair in enumerate(zip(*axes, strict=True)) if i not in gone])
