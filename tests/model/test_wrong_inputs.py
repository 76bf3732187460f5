"""Inputs of a run by wrong names, shapes or types, and gradients of nothing."""

import numpy as np
import pytest
import torch
from graphs import F, feeds, mlp, model, node, numbers, qdq, tensor
from onnx import TensorProto, helper

from faultsim.errors import DataError, ModelError
from faultsim.model import load_model


def test_inputs_by_wrong_names():
    fed = feeds(mlp())
    with pytest.raises(DataError, match=r"net takes the inputs \['x'\]; missing: \['x'\], unknown: \['image'\]"):
        load_model(mlp()).run({"image": fed["x"]})
    with pytest.raises(DataError, match=r"missing: none, unknown: \['more'\]"):
        load_model(mlp()).run({**fed, "more": fed["x"]})


@pytest.mark.parametrize("shape", [(3, 7), (6,), (3, 6, 1), ()])
def test_inputs_of_wrong_shape(shape):
    with pytest.raises(DataError, match=r"net takes input 'x' \(float32, N×6\); got float32 of shape .*: convert or"):
        load_model(mlp()).run({"x": np.zeros(shape, F)})


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, bool, "U3"])
def test_inputs_of_wrong_type(dtype):
    with pytest.raises(DataError, match=r"takes input 'x' \(float32, N×6\); got .* of shape 3×6"):
        load_model(mlp()).run({"x": np.zeros((3, 6), dtype)})


def test_an_input_that_declares_no_shape_takes_any():
    proto = mlp()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert load_model(proto).run(feeds(mlp()))["y"].shape == (3, 4)


def test_a_gradient_of_nothing():
    loaded = load_model(qdq())
    with pytest.raises(ModelError, match=r"the loss does not depend on any chosen site; choose other --sites"):
        loaded.gradient(feeds(qdq()), lambda out: torch.zeros(()), sites=["w"])
    with pytest.raises(ModelError, match=r"no site is named 'x'"):
        loaded.gradient(feeds(qdq()), lambda out: out["y"].sum(), sites=["x"])


def test_a_token_outside_the_vocabulary_is_named_with_its_place():
    proto = model(
        [node("Add", ["ids", "one"], ["later"]), node("Gather", ["table", "later"], ["y"], name="look up")],
        [tensor("table", numbers(5, 4)), tensor("one", np.array(1))],
    )
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 3]))
    loaded = load_model(proto)
    assert loaded.run({"ids": np.array([[0, 3, -6]])})["y"].shape == (1, 3, 4)
    with pytest.raises(ModelError, match=r"net: node 'look up' .*: index 8 at \[1, 2\] is outside the table of 5 rows"):
        loaded.run({"ids": np.array([[0, 1, 2], [3, 0, 7]])})


def test_a_node_that_fails_on_data_is_named_with_its_file():
    proto = model([node("Reshape", ["x", "shape"], ["y"], name="cut")], [tensor("shape", np.array([-1, 7]))])
    with pytest.raises(ModelError, match=r"^net: node 'cut' \(Reshape\) failed on inputs \(float32\(3, 6\)"):
        load_model(proto).run(feeds(mlp()))
