"""Control flow: gradients flow through bodies, scan outputs stack as onnxruntime stacks them."""

import numpy as np
import onnx
import pytest
import torch
from one_node import session
from onnx import TensorProto, helper

from faultsim.model.backend import FaultsimBackend
from faultsim.model.graph import compile_model
from faultsim.model.run import Execution

F = np.float32
FLOAT = TensorProto.FLOAT


def info(name, elem=FLOAT, shape=()):
    return helper.make_tensor_value_info(name, elem, shape)


def model(nodes, inputs, outputs, *, opset=17) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def doubling_loop(*, keep="go") -> onnx.ModelProto:
    """State times a captured w each round; scan output: the state's square."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["state", "w"], ["next"]),
            helper.make_node("Mul", ["next", "next"], ["square"]),
            helper.make_node("Less", ["square", "limit"], ["small"]),
            helper.make_node("Identity", ["go_in" if keep == "go" else "small"], ["go_out"]),
        ],
        "body",
        [info("i", TensorProto.INT64), info("go_in", TensorProto.BOOL), info("state")],
        [info("go_out", TensorProto.BOOL), info("next"), info("square")],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["y", "squares"], body=body)
    inputs = [info("n", TensorProto.INT64), info("x"), info("w"), info("limit")]
    return model([node], inputs, [info("y"), info("squares", shape=("n",))])


@pytest.mark.parametrize("keep", ["go", "small"])
@pytest.mark.parametrize("trips", [0, 1, 4])
def test_loop_equals_onnxruntime(keep, trips):
    m = doubling_loop(keep=keep)
    feeds = {"n": np.array(trips), "x": np.array(3, F), "w": np.array(2, F), "limit": np.array(500, F)}
    for ours, theirs in zip(FaultsimBackend.prepare(m).run(feeds), session(m).run(None, feeds), strict=True):
        assert np.array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_gradients_flow_through_a_loop_into_what_it_captures():
    program = compile_model(doubling_loop())
    w = torch.tensor(2.0, requires_grad=True)
    feeds = {"n": torch.tensor(3), "x": torch.tensor(1.0), "w": w, "limit": torch.tensor(9e9)}
    last, squares = Execution(program, program.tensors, device=torch.device("cpu")).run(program.graph, feeds)
    (last + squares[0]).backward()
    assert w.grad.item() == 3 * 2**2 + 2 * 2


@pytest.mark.parametrize("taken", [True, False])
def test_gradients_flow_through_the_branch_that_is_taken(taken):
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [info(name)])
        for name, op in (("then", "Exp"), ("else", "Neg"))
    }
    m = model(
        [helper.make_node("If", ["c"], ["y"], **branches)],
        [info("c", TensorProto.BOOL), info("x")],
        [info("y")],
    )
    program = compile_model(m)
    x = torch.tensor(1.0, requires_grad=True)
    feeds = {"c": torch.tensor(taken), "x": x}
    (y,) = Execution(program, program.tensors, device=torch.device("cpu")).run(program.graph, feeds)
    y.backward()
    assert x.grad.item() == pytest.approx(np.e if taken else -1)


@pytest.mark.parametrize("backwards", [0, 1])
def test_scan_equals_onnxruntime_along_any_axis_and_direction(backwards):
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum_in", "row"], ["sum_out"]),
            helper.make_node("Identity", ["sum_out"], ["seen"]),
        ],
        "body",
        [info("sum_in", shape=(2,)), info("row", shape=(2,))],
        [info("sum_out", shape=(2,)), info("seen", shape=(2,))],
    )
    node = helper.make_node(
        "Scan",
        ["s", "x"],
        ["last", "all"],
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_input_directions=[backwards],
        scan_output_axes=[-1],
        scan_output_directions=[backwards],
    )
    m = model(
        [node],
        [info("s", shape=(2,)), info("x", shape=(2, 5))],
        [info("last", shape=(2,)), info("all", shape=(2, 5))],
    )
    feeds = {"s": np.zeros(2, F), "x": np.random.default_rng(0).normal(size=(2, 5)).astype(F)}
    for ours, theirs in zip(FaultsimBackend.prepare(m).run(feeds), session(m).run(None, feeds), strict=True):
        assert np.allclose(ours, theirs)


def test_a_constant_inside_a_branch_has_a_key_with_the_path():
    value = helper.make_node("Constant", [], ["k"], value=helper.make_tensor("k", FLOAT, (), [7.0]))
    branch = helper.make_graph([value, helper.make_node("Add", ["x", "k"], ["t"])], "then", [], [info("t")])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["e"])], "else", [], [info("e")])
    node = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=other)
    m = model([node], [info("c", TensorProto.BOOL), info("x")], [info("y")])
    assert list(compile_model(m).tensors) == ["choice/then_branch/k"]
