"""What onnxruntime's static quantizer would get wrong in a float graph, put apart before it runs. No code is made here.

It renames the output of a node whose ReLU it takes into its quantizer, and looks for readers in the main graph alone;
and it gives a weight one axis of scales, whichever way round its readers take it.
"""

from collections.abc import Callable, Iterator

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from faultsim.model.bodies import outer_names, subgraphs

Axis = Callable[[NodeProto, int], int | None]


def put_apart(proto: ModelProto, axis_of: Axis) -> None:
    """Give subgraphs and second axes names of their own, in place; the function stays the same.

    Args:
        proto: A float graph.
        axis_of: The axis of output channels of a node's second input of some rank; None where it is not quantized.
    """
    _show_inside(proto.graph)
    _copy_for_each_axis(proto.graph, axis_of)


def _show_inside(graph: GraphProto) -> None:
    """Let the bodies of If, Loop and Scan read an Identity of what the main graph computes."""
    taken = set(_names(graph))
    fresh: list[NodeProto] = []
    for node in graph.node:
        bodies = subgraphs(node)
        fresh.append(node)
        if not bodies:
            continue
        seen = {name for body in bodies for name in outer_names(body)}
        for name in sorted(seen & {out for one in graph.node for out in one.output if out}):
            shown = free(f"{name}_inside", taken)
            fresh.insert(-1, helper.make_node("Identity", [name], [shown], shown))
            for body in bodies:
                _rename(body, name, shown)
    copies = [NodeProto.FromString(one.SerializeToString()) for one in fresh]
    graph.ClearField("node")
    graph.node.extend(copies)


def _copy_for_each_axis(graph: GraphProto, axis_of: Axis) -> None:
    """Give every further axis along which a weight is read a copy of it."""
    taken = set(_names(graph))
    floats = {one.name: one for one in graph.initializer if one.data_type == TensorProto.FLOAT}
    known: dict[str, dict[int, str]] = {}
    for node in graph.node:
        weight = floats.get(node.input[1]) if len(node.input) > 1 else None
        axis = None if weight is None else axis_of(node, len(weight.dims))
        if weight is None or axis is None:
            continue
        names = known.setdefault(weight.name, {axis: weight.name})
        if axis not in names:
            copy = graph.initializer.add()
            copy.CopyFrom(weight)
            copy.name = names[axis] = free(f"{weight.name}_axis{axis}", taken)
        node.input[1] = names[axis]


def free(name: str, taken: set[str]) -> str:
    """Return *name*, or the first longer one that is not in *taken*, and take it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _names(graph: GraphProto) -> Iterator[str]:
    yield from (tensor.name for tensor in graph.initializer)
    yield from (value.name for value in graph.input)
    for node in graph.node:
        yield from (*node.input, *node.output)
        for body in subgraphs(node):
            yield from _names(body)


def _rename(graph: GraphProto, old: str, new: str) -> None:
    if old not in outer_names(graph):
        return
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
        for body in subgraphs(node):
            _rename(body, old, new)
    for one in graph.output:
        if one.name == old:
            one.name = new
