"""Which inputs look rows of a table up, through what, and how many rows the smallest one has."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.model import load_model

F = np.float32
INT = TensorProto.INT64


def _upper(nodes, weights=None, *, kind=INT, inputs=("ids",), domains=("",)):
    tables = {"table": np.zeros((9, 4), F), "axes": np.array([1]), "flat": np.array([-1])}
    used = {name for node in nodes for name in node.input}
    tables = {name: array for name, array in {**tables, **(weights or {})}.items() if name in used}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, ["N", 3]) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in tables.items()],
    )
    opsets = [helper.make_opsetid(domain, 17 if not domain else 1) for domain in domains]
    model = load_model(helper.make_model(graph, opset_imports=opsets, ir_version=9))
    return {spec.name: spec.upper for spec in model.declared}


def _node(op, *inputs, out, domain="", **attributes):
    return helper.make_node(op, list(inputs), [out], domain=domain, **attributes)


GATHER = _node("Gather", "table", "i", out="y")


@pytest.mark.parametrize(
    "before",
    [
        [_node("Identity", "ids", out="i")],
        [_node("Cast", "ids", out="i", to=TensorProto.INT32)],
        [_node("Reshape", "ids", "flat", out="i")],
        [_node("Unsqueeze", "ids", "axes", out="u"), _node("Squeeze", "u", "axes", out="i")],
        [_node("Transpose", "ids", out="t"), _node("Flatten", "t", out="i")],
    ],
)
def test_ids_reach_their_table_through_ops_that_only_move_them(before):
    assert _upper([*before, GATHER]) == {"ids": 9}


def test_values_that_are_computed_are_no_ids():
    weights = {"offset": np.array(1), "table": np.zeros((9, 4), F)}
    assert _upper([_node("Add", "ids", "offset", out="i"), GATHER], weights) == {"ids": None}
    assert _upper([_node("Cast", "ids", out="i", to=INT), GATHER], kind=TensorProto.FLOAT) == {"ids": None}


def test_a_table_may_be_quantized_transposed_or_a_constant_node():
    weights = {"codes": np.zeros((11, 4), np.int8), "scale": np.float32(0.5).reshape(())}
    nodes = [_node("DequantizeLinear", "codes", "scale", out="real"), _node("Gather", "real", "ids", out="y")]
    assert _upper(nodes, weights) == {"ids": 11}
    assert _upper([_node("Gather", "table", "ids", out="y", axis=1)]) == {"ids": 4}
    assert _upper([_node("Gather", "table", "ids", out="y", axis=-1)]) == {"ids": 4}
    made = helper.make_node("Constant", [], ["held"], value=numpy_helper.from_array(np.zeros((6, 2), F)))
    assert _upper([made, _node("Gather", "held", "ids", out="y")]) == {"ids": 6}


def test_the_smallest_of_several_tables_counts():
    weights = {"table": np.zeros((9, 4), F), "other": np.zeros((7, 4), F)}
    nodes = [
        _node("Gather", "table", "ids", out="a"),
        _node("Gather", "other", "ids", out="b"),
        _node("Gather", "table", "kinds", out="c"),
        _node("Sum", "a", "b", "c", out="y"),
    ]
    assert _upper(nodes, weights, inputs=("ids", "kinds")) == {"ids": 7, "kinds": 9}


def test_a_table_that_is_computed_tells_nothing():
    assert _upper([_node("Shape", "ids", out="s"), _node("Gather", "s", "ids", out="y")]) == {"ids": None}


def test_embeddings_fused_by_onnxruntime_are_tables_too():
    weights = {"words": np.zeros((9, 4), F), "places": np.zeros((3, 4), F), "kinds": np.zeros((2, 4), F),
               "g": np.ones(4, F), "b": np.zeros(4, F)}  # fmt: skip
    inputs = ("ids", "segments", "words", "places", "kinds", "g", "b")
    node = _node("EmbedLayerNormalization", *inputs, out="y", domain="com.microsoft")
    found = _upper([node], weights, kind=TensorProto.INT32, inputs=("ids", "segments"), domains=("", "com.microsoft"))
    assert found == {"ids": 9, "segments": 2}
