"""Nodes without an op function: model-local functions, function bodies of the schema, the NumPy fallback."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from faultsim.errors import ModelError, UnsupportedOpError
from faultsim.model import functions
from faultsim.model.backend import FaultsimBackend
from faultsim.model.graph import Node, compile_model
from faultsim.model.run import Execution

F = np.float32
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]


def model(nodes, inputs, outputs, *, local=(), opsets=OPSETS) -> onnx.ModelProto:
    def infos(names):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names]

    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs))
    return helper.make_model(graph, opset_imports=opsets, functions=list(local), ir_version=9)


def leaky() -> onnx.FunctionProto:
    """LeakyRelu by *slope* (0.5 unless given), through a nested call of `twice`."""
    act = helper.make_node("LeakyRelu", ["x"], ["r"])
    act.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    call = helper.make_node("twice", ["r"], ["y"], domain="mine")
    return helper.make_function(
        "mine",
        "leaky",
        ["x"],
        ["y"],
        [act, call],
        OPSETS,
        attribute_protos=[helper.make_attribute("slope", 0.5)],
    )


def twice() -> onnx.FunctionProto:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["x", "two"], ["y"]),
    ]
    return helper.make_function("mine", "twice", ["x"], ["y"], nodes, OPSETS)


@pytest.mark.parametrize(("attributes", "slope"), [({}, 0.5), ({"slope": 0.25}, 0.25)])
def test_local_functions_nest_and_take_attributes_with_defaults(attributes, slope):
    m = model(
        [helper.make_node("leaky", ["a"], ["b"], domain="mine", **attributes)],
        "a",
        "b",
        local=[leaky(), twice()],
    )
    x = np.array([-1, 3], F)
    assert FaultsimBackend.prepare(m).run({"a": x})[0].tolist() == [-2 * slope, 6]


def test_gradients_flow_through_a_local_function():
    m = model([helper.make_node("leaky", ["a"], ["b"], domain="mine")], "a", "b", local=[leaky(), twice()])
    program = compile_model(m)
    x = torch.tensor([-1.0, 3.0], requires_grad=True)
    (y,) = Execution(program, program.tensors, device=torch.device("cpu")).run(program.graph, {"a": x})
    y.sum().backward()
    assert x.grad.tolist() == [1, 2]
    assert not program.fallbacks


def test_a_local_function_wins_over_an_op_of_its_name():
    own = helper.make_function("", "Relu", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], OPSETS)
    m = model([helper.make_node("Relu", ["a"], ["b"])], "a", "b", local=[own])
    assert FaultsimBackend.prepare(m).run({"a": np.ones(1, F)})[0].tolist() == [-1]


def test_too_many_inputs_for_a_function_are_refused():
    m = model([helper.make_node("twice", ["a", "a"], ["b"], domain="mine")], "a", "b", local=[twice()])
    with pytest.raises(ModelError, match=r"'twice' is called with 2 inputs and takes 1"):
        FaultsimBackend.prepare(m).run({"a": np.ones(1, F)})


def test_an_unknown_op_is_refused_when_the_model_is_compiled():
    with pytest.raises(UnsupportedOpError, match=r"cannot execute the op 'Nonsense' of domain 'mine' \(opset 1\)"):
        compile_model(model([helper.make_node("Nonsense", ["a"], ["b"], domain="mine")], "a", "b"))


def test_an_unknown_op_inside_a_function_is_refused_when_the_model_is_compiled():
    hidden = helper.make_function("mine", "f", ["x"], ["y"], [helper.make_node("Nope", ["x"], ["y"])], OPSETS)
    with pytest.raises(UnsupportedOpError, match="'Nope'"):
        compile_model(model([helper.make_node("f", ["a"], ["b"], domain="mine")], "a", "b", local=[hidden]))


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [("Celu", {"alpha": 1.5}), ("MeanVarianceNormalization", {}), ("HardSwish", {}), ("Selu", {})],
)
def test_a_schema_body_gives_what_the_op_function_gives(op_type, attributes, monkeypatch):
    m = model([helper.make_node(op_type, ["a"], ["b"], **attributes)], "a", "b")
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(F)
    want = FaultsimBackend.prepare(m).run({"a": x})[0]
    from faultsim.model import graph

    table = graph.find
    monkeypatch.setattr(graph, "find", lambda d, n, v: None if n == op_type else table(d, n, v))
    prepared = FaultsimBackend.prepare(m)
    assert np.allclose(prepared.run({"a": x})[0], want, rtol=1e-5, atol=1e-6)
    assert not prepared.program.fallbacks
    node: Node = prepared.program.graph.nodes[0]
    assert len(node.bodies) == 1
    prepared.run({"a": x})
    assert len(node.bodies) == 1


def test_the_fallback_runs_in_numpy_and_is_reported():
    opsets = [*OPSETS, helper.make_opsetid("ai.onnx.ml", 3)]
    m = model(
        [
            helper.make_node(
                "LabelEncoder", ["a"], ["b"], domain="ai.onnx.ml", keys_int64s=[1, 2], values_floats=[0.5, 1.5]
            )
        ],
        "a",
        "b",
        opsets=opsets,
    )
    program = compile_model(m)
    assert program.fallbacks == {"LabelEncoder"}
    assert FaultsimBackend.prepare(m).run({"a": np.array([2, 1], np.int64)})[0].tolist() == [1.5, 0.5]


def test_ways_without_an_op_function():
    node = helper.make_node
    assert functions.way_without_op(node("Celu", ["a"], ["b"]), 18) == "function"
    assert functions.way_without_op(node("Det", ["a"], ["b"]), 18) == "reference"
    assert functions.way_without_op(node("Nope", ["a"], ["b"]), 18) is None
