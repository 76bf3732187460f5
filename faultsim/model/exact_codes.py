"""Products of 8-bit codes that are exact on every processor: what onnxruntime has to be told for it.

x86 processors without VNNI add two products of codes in 16 bits, which saturate: an int8 model then has other answers
than on the chip that it ships on. onnxruntime has a switch for it, which fails where layers share a zero point.
"""

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import cache
from typing import TypeVar

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from faultsim.errors import ModelError

KEY = "session.x64quantprecision"
PREFIX = "/faultsim/"
"""In the names of initializers that a graph is given here."""
Made = TypeVar("Made")


@cache
def saturates() -> bool:
    """Whether onnxruntime's own products of uint8 and int8 codes saturate on this processor."""
    count = 64
    a, b, y = (
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("a", TensorProto.UINT8, [8, count]),
            ("b", TensorProto.INT8, [count, 8]),
            ("y", TensorProto.INT32, [8, 8]),
        )
    )
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "products", [a, b], [y])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    opened = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"a": np.full((8, count), 255, np.uint8), "b": np.full((count, 8), 127, np.int8)}
    return bool((np.asarray(opened.run(None, feeds)[0]) != count * 255 * 127).any())


def ask(options: ort.SessionOptions) -> None:
    """Ask for exact products."""
    options.add_session_config_entry(KEY, "1")


def exactly(make: Callable[[ModelProto, bool], Made], proto: ModelProto) -> Made:
    """Return ``make(proto, exact)``, exact where this processor saturates and onnxruntime has the kernels.

    It has none for int8 activations with weights that it made uint8; those do not saturate as they are.

    Args:
        make: Opens a graph; it raises `ModelError` where onnxruntime cannot.
        proto: The graph.

    Raises:
        ModelError: As *make* does.
    """
    if saturates():
        with suppress(ModelError):
            return make(unshared(proto), True)
    return make(proto, False)


def unshared(proto: ModelProto) -> ModelProto:
    """Return a graph whose int8 initializers onnxruntime can make uint8; *proto* itself where that is so.

    It does so by name: no two nodes may read the same one, or it gives up. And it gives the codes a zero point of one
    number, which a DequantizeLinear with a scale a channel refuses when it runs: it gets zeros of its own.
    """
    codes = {one.name: one for one in proto.graph.initializer if one.data_type == TensorProto.INT8}
    readers = [name for node in proto.graph.node for name in node.input if name in codes]
    scales = {one.name: tuple(one.dims) for one in proto.graph.initializer}
    bare = [i for i, node in enumerate(proto.graph.node) if _without_zeros(node, codes.keys(), scales)]
    if len(readers) == len(set(readers)) and not bare:
        return proto
    copy = ModelProto()
    copy.CopyFrom(proto)
    for i in bare:
        node, name = copy.graph.node[i], f"{PREFIX}{len(copy.graph.initializer)}"
        zeros = np.zeros(scales[node.input[1]], np.int8)
        copy.graph.initializer.append(numpy_helper.from_array(zeros, name))
        node.input[:] = [*node.input[:2], name]
    seen: set[str] = set()
    for node in copy.graph.node:
        for i, name in enumerate(node.input):
            if name in codes and name in seen:
                own = copy.graph.initializer.add()
                own.CopyFrom(codes[name])
                own.name = node.input[i] = f"{name}{PREFIX}{len(copy.graph.initializer)}"
            seen.add(name)
    return copy


def _without_zeros(node: NodeProto, codes: Collection[str], sizes: Mapping[str, tuple[int, ...]]) -> bool:
    if node.op_type != "DequantizeLinear" or len(node.input) < 2 or node.input[0] not in codes:
        return False
    told = len(node.input) > 2 and node.input[2]
    return not told and math.prod(sizes.get(node.input[1], ())) > 1
