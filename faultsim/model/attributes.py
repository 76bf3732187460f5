"""Plain numbers in attributes of Constant nodes (value_float, value_floats, value_int, value_ints): read, replaced."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, numpy_helper

from faultsim.model.bodies import subgraphs

FIELDS: dict[int, str] = {
    AttributeProto.FLOAT: "f",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INT: "i",
    AttributeProto.INTS: "ints",
}
"""The field of an AttributeProto that holds numbers, by its type: the last step of a way to them."""

_NAMES: dict[str, int] = {
    "value_float": AttributeProto.FLOAT,
    "value_floats": AttributeProto.FLOATS,
    "value_int": AttributeProto.INT,
    "value_ints": AttributeProto.INTS,
}


def is_constant(node: NodeProto) -> bool:
    """Whether *node* is an ONNX Constant with one attribute."""
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.attribute) == 1


def constant_field(node: NodeProto) -> str | None:
    """Return the field in which a Constant node's attribute holds plain numbers; None for every other node."""
    if not is_constant(node):
        return None
    attribute = node.attribute[0]
    return FIELDS[attribute.type] if _NAMES.get(attribute.name) == attribute.type else None


def tensor_of(attribute: AttributeProto, field: str, name: str) -> TensorProto:
    """Return the numbers in *field* of *attribute* as a tensor called *name*: float32 or int64, as ONNX reads them."""
    numbers: Any = getattr(attribute, field)
    array = np.array(numbers if field in ("f", "i") else list(numbers), np.float32 if field[0] == "f" else np.int64)
    return numpy_helper.from_array(array, name)


def put(attribute: AttributeProto, field: str, array: NDArray[Any]) -> None:
    """Set the numbers in *field* of *attribute*."""
    if field in ("f", "i"):
        setattr(attribute, field, array.item())
        return
    attribute.ClearField(field)
    getattr(attribute, field).extend(array.tolist())


def shared(function: FunctionProto, name: str) -> bool:
    """Whether an attribute of *function* is read by more than Constant nodes or one single node.

    New numbers in such an attribute would change what the other readers do too.
    """
    readers: list[NodeProto] = []
    stack = list(function.node)
    while stack:
        node = stack.pop()
        readers += [node for a in node.attribute if a.ref_attr_name == name]
        stack += [inner for graph in subgraphs(node) for inner in graph.node]
    return len(readers) > 1 and not all(is_constant(node) for node in readers)
