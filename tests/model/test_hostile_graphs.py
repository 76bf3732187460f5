"""Graphs that cannot run: unknown ops and names, functions without end, shapes that do not fit."""

import numpy as np
import pytest
from graphs import feeds, mlp, model, node, numbers, tensor, value
from onnx import helper

from faultsim.errors import ModelError, UnsupportedOpError
from faultsim.model import load_model


def test_unknown_op():
    proto = model([node("Frobnicate", ["x"], ["y"], name="strange", domain="acme.ops")], [], domains=["acme.ops"])
    with pytest.raises(
        UnsupportedOpError, match=r"node 'strange': faultsim cannot execute the op 'Frobnicate' of domain 'acme.ops'"
    ):
        load_model(proto)
    proto = model([node("Relux", ["x"], ["y"])], [])
    with pytest.raises(UnsupportedOpError, match=r"node 'Relux_0': .* the op 'Relux' of domain 'ai.onnx' \(opset 21\)"):
        load_model(proto)


def test_unknown_op_inside_a_body():
    body = helper.make_graph([node("Relux", [], ["o"], name="deep")], "b", [], [value("o", ["N"])])
    proto = model([node("If", ["c"], ["y"], then_branch=body, else_branch=body)], [tensor("c", np.bool_(True))])
    with pytest.raises(UnsupportedOpError, match=r"node 'If_0/else_branch/deep': .* 'Relux'"):
        load_model(proto)


def _function(name, calls):
    nodes = [node(c, ["a"], [f"t{i}"], domain="f") for i, c in enumerate(calls)]
    nodes.append(node("Sum", [f"t{i}" for i in range(len(calls))], ["b"]))
    return helper.make_function(
        "f", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    )


def test_a_function_that_calls_itself():
    proto = model([node("A", ["x"], ["y"], domain="f")], [], domains=["f"])
    proto.functions.append(_function("A", ["A"]))
    with pytest.raises(ModelError, match=r"net: the model-local functions call each other without end, at 'A'"):
        load_model(proto)


def test_a_long_chain_of_functions():
    proto = model([node("F0", ["x"], ["y"], domain="f")], [], domains=["f"])
    proto.functions.extend(_function(f"F{i}", [f"F{i + 1}"]) for i in range(60))
    with pytest.raises(ModelError, match=r"the model-local functions call each other without end, at 'F51'"):
        load_model(proto)


def test_functions_that_double_at_every_call():
    proto = model([node("F0", ["x"], ["y"], domain="f")], [], domains=["f"])
    proto.functions.extend(_function(f"F{i}", [f"F{i + 1}"] * 2) for i in range(40))
    with pytest.raises(ModelError, match=r"functions make more than 200000 nodes when written out; export the model"):
        load_model(proto)


def test_an_unknown_name():
    proto = mlp()
    proto.graph.node[2].input[1] = "nowhere"
    with pytest.raises(ModelError, match=r"the graph reads 'nowhere' before anything makes it; run onnx.checker"):
        load_model(proto).run(feeds(mlp()))


def test_an_output_that_nothing_makes():
    proto = mlp()
    proto.graph.output[0].name = "nowhere"
    with pytest.raises(ModelError, match=r"the graph reads 'nowhere' before anything makes it"):
        load_model(proto).run(feeds(mlp()))


def test_shapes_that_do_not_fit():
    proto = mlp()
    proto.graph.initializer[2].CopyFrom(tensor("w2", numbers(7, 4)))
    with pytest.raises(
        ModelError, match=r"node 'second' \(MatMul\) failed on inputs \(float32\(3, 8\), float32\(7, 4\)"
    ):
        load_model(proto).run(feeds(mlp()))


def test_sequence_inputs():
    proto = mlp()
    proto.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(value("s", ["N"]).type))
    with pytest.raises(ModelError, match=r"input 'x' is a sequence or an optional; faultsim feeds tensors: wrap"):
        load_model(proto)
