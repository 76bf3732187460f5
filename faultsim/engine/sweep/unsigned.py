"""Int8 codes at the ends of a piece made uint8, as onnxruntime does inside a graph. No piece is cut here.

On x86 onnxruntime turns int8 activations between a QuantizeLinear and its DequantizeLinear into uint8, and fuses only
those with the layer between. Where a piece begins or ends with codes there is no such pair, and the layer would compute
in floats, other numbers than in the whole graph. So the codes go in and out as uint8 (``code + 128``), which changes no
value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

Array = NDArray[Any]
_SHIFT = 128
_SUFFIX = "/uint8"


def make_unsigned(proto: ModelProto) -> frozenset[str]:
    """Make the int8 inputs and outputs of a piece uint8 where only Q and DQ touch them; return their names.

    Args:
        proto: The piece; it is changed in place.
    """
    graph = proto.graph
    makers = {o: node for node in graph.node for o in node.output if o}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    zeros = {t.name: t for t in graph.initializer if t.data_type == TensorProto.INT8}
    changed: set[str] = set()
    added: dict[str, TensorProto] = {}
    for info in [*graph.input, *graph.output]:
        kind = info.type.tensor_type
        name = info.name
        if kind.elem_type != TensorProto.INT8 or name in changed:
            continue
        maker = makers.get(name)
        ends = [*readers.get(name, []), *([maker] if maker is not None else [])]
        if not ends or not all(_convertible(node, name, zeros) for node in ends):
            continue
        for node in ends:
            _shift(node, zeros, added)
        changed.add(name)
    for info in [*graph.input, *graph.output]:
        if info.name in changed:
            info.type.tensor_type.elem_type = TensorProto.UINT8
    graph.initializer.extend(added.values())
    return frozenset(changed)


def _convertible(node: NodeProto, name: str, zeros: dict[str, TensorProto]) -> bool:
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.domain not in ("", "ai.onnx"):
        return False
    codes = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
    zero = node.input[2] if len(node.input) > 2 else ""
    return codes == name and zero in zeros and list(node.input).count(name) <= 1


def _shift(node: NodeProto, zeros: dict[str, TensorProto], added: dict[str, TensorProto]) -> None:
    old = zeros[node.input[2]]
    name = node.input[2] + _SUFFIX
    if name not in added:
        wide = numpy_helper.to_array(old).astype(np.int16) + _SHIFT
        added[name] = numpy_helper.from_array(wide.astype(np.uint8), name)
    node.input[2] = name


def flip(codes: Array) -> Array:
    """Return int8 codes as uint8 ``code + 128``, or such back as int8."""
    other = np.uint8 if codes.dtype == np.int8 else np.int8
    return np.bitwise_xor(np.ascontiguousarray(codes).view(np.uint8), np.uint8(_SHIFT)).view(other)
