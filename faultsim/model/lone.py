"""One node as a model of its own, on the inputs of one run, for a reference runtime; also with its floats widened.

Constants come from the file and not from what we made of them, so that reading them is checked too.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, numpy_helper

from faultsim.model.bodies import subgraphs
from faultsim.model.codes import FunctionKey, called
from faultsim.model.functions import type_proto
from faultsim.model.model import Model
from faultsim.model.nodes import Node, needs
from faultsim.model.proto import resolve
from faultsim.model.stored import tensors
from faultsim.model.values import FLOAT8, Value, to_numpy

HALVES = frozenset({int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)})
FLOATS = HALVES | frozenset(int(e) for e in FLOAT8) | {int(TensorProto.DOUBLE)}
"""Every float type but float32."""

_TYPE_ATTRIBUTES = frozenset(
    {"to", "dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type", "out_dtype"}
)
_WIDE = "/as_float32"


@dataclass(frozen=True)
class Lone:
    """One node as a model.

    Attributes:
        proto: The model; what no runtime takes from NumPy (bfloat16, float8, int4) is stored in it.
        feeds: Its inputs.
        outputs: Names of the node's outputs, by the name of the model's output that holds it.
    """

    proto: ModelProto
    feeds: dict[str, Any]
    outputs: dict[str, str]


def lone(model: Model, node: Node, inputs: Mapping[str, Value], outputs: Mapping[str, Value]) -> Lone:
    """Return *node* of the main graph as a model of its own.

    Args:
        model: The model that it is part of.
        node: The node.
        inputs: By name, what the node and its subgraphs read in this run, constants of the graph left out.
        outputs: What came out of it; the types alone matter.
    """
    proto = ModelProto(ir_version=model.proto.ir_version, opset_import=model.proto.opset_import)
    proto.functions.extend(_called(model, node.proto))
    graph = proto.graph
    graph.name = "one_node"
    graph.node.add().CopyFrom(node.proto)
    feeds: dict[str, Any] = {}
    constants = model.program.graph.constants
    for name in sorted(needs(node)):
        if name not in inputs:
            graph.initializer.append(_stored(model, constants[name], name))
            continue
        value, array = inputs[name], to_numpy(inputs[name])
        if value is None:
            raise ValueError("an absent optional cannot be fed")
        if _is_exotic(array):
            graph.initializer.append(numpy_helper.from_array(array, name))
        else:
            graph.input.add(name=name, type=_free(type_proto(value)))
            feeds[name] = array
    names: dict[str, str] = {}
    for name, value in outputs.items():
        exotic = not isinstance(value, list) and value is not None and _is_exotic(to_numpy(value))
        names[name + _WIDE if exotic else name] = name
        if exotic:  # no runtime hands such numbers to NumPy, and float32 holds them all
            graph.node.append(onnx.helper.make_node("Cast", [name], [name + _WIDE], to=TensorProto.FLOAT))
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return Lone(proto, feeds, names)


def widened(one: Lone, types: Collection[int]) -> Lone | None:
    """Return the same node in which floats of the given element types are float32; None where there are none.

    Its inputs are the same numbers; float64 alone is rounded. What it computes is then rounded nowhere.
    """
    proto = ModelProto()
    proto.CopyFrom(one.proto)
    changed = _widen(proto, types)
    feeds = {name: _wide(array, types) for name, array in one.feeds.items()}
    if not changed and all(feeds[name] is one.feeds[name] for name in feeds):
        return None
    return Lone(proto, feeds, one.outputs)


def typed(one: Lone, outputs: Mapping[str, Value]) -> Lone:
    """Return the same node with the types of its outputs declared, for a runtime that asks for them."""
    proto = ModelProto()
    proto.CopyFrom(one.proto)
    for output in proto.graph.output:
        value = outputs[one.outputs[output.name]]
        if value is not None:
            output.type.CopyFrom(type_proto(value))
    return Lone(proto, one.feeds, one.outputs)


def _stored(model: Model, key: str, name: str) -> TensorProto:
    path = model.program.paths.get(key)
    tensor = TensorProto()
    if path is None:  # a sparse tensor, which is made dense
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(to_numpy(model.program.tensors[key])), name))
    else:
        tensor.CopyFrom(resolve(model.proto, path))
        tensor.name = name
    return tensor


def _is_exotic(array: Any) -> bool:
    """Whether it is an array of a type that NumPy itself does not have."""
    return isinstance(array, np.ndarray) and array.dtype.isbuiltin == 2


def _free(kind: TypeProto) -> TypeProto:
    """The same type without sizes in a sequence, whose items may differ."""
    if kind.HasField("sequence_type"):
        kind.sequence_type.elem_type.tensor_type.ClearField("shape")
    return kind


def _called(model: Model, node: NodeProto) -> list[FunctionProto]:
    """The model-local functions that *node* needs, those that they call included."""
    by_name = model.program.functions
    found: dict[FunctionKey, FunctionProto] = {}
    stack = [node] if by_name else []
    while stack:
        one = stack.pop()
        for graph in subgraphs(one):
            stack.extend(graph.node)
        key = called(one)
        if key in by_name and key not in found:
            found[key] = by_name[key]
            stack.extend(by_name[key].node)
    return list(found.values())


def _widen(proto: ModelProto, types: Collection[int]) -> bool:
    changed = False
    for tensor in tensors(proto):
        if tensor.data_type in types:
            fresh = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            tensor.CopyFrom(fresh)
            changed = True
    for graph in _graphs(proto):
        if isinstance(graph, GraphProto):
            for value in [*graph.input, *graph.output, *graph.value_info]:
                changed |= _widen_type(value.type, types)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in _TYPE_ATTRIBUTES and attribute.type == AttributeProto.INT and attribute.i in types:
                    attribute.i = TensorProto.FLOAT
                    changed = True
    return changed


def _graphs(proto: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    stack: list[GraphProto | FunctionProto] = [proto.graph, *proto.functions]
    while stack:
        graph = stack.pop()
        yield graph
        stack.extend(inner for node in graph.node for inner in subgraphs(node))


def _widen_type(kind: TypeProto, types: Collection[int]) -> bool:
    match kind.WhichOneof("value"):
        case "tensor_type":
            if kind.tensor_type.elem_type in types:
                kind.tensor_type.elem_type = TensorProto.FLOAT
                return True
        case "sequence_type":
            return _widen_type(kind.sequence_type.elem_type, types)
        case "optional_type":
            return _widen_type(kind.optional_type.elem_type, types)
    return False


def _wide(array: Any, types: Collection[int]) -> Any:
    if isinstance(array, list):
        wide = [_wide(item, types) for item in array]
        return array if all(a is b for a, b in zip(wide, array, strict=True)) else wide
    if isinstance(array, np.ndarray) and array.dtype.kind not in "OUS":
        elem = int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
        return array.astype(np.float32) if elem in types else array
    return array
