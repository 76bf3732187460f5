"""Which output is judged, whether it is a probability, and what its codes mean."""

import numpy as np
import pytest
import tiny_nets
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim import load_model
from faultsim.engine.scored import scored_output
from faultsim.errors import OptionError


@pytest.mark.parametrize(
    ("ops", "probability"),
    [
        (("Relu",), False),
        (("Softmax",), True),
        (("Sigmoid",), True),
        (("Softmax", "Identity"), True),
        (("Softmax", "QuantizeLinear", "DequantizeLinear"), True),
        (("Softmax", "Relu"), False),
        (("QuantizeLinear", "DequantizeLinear"), False),
    ],
)
def test_a_graph_that_ends_in_a_softmax_gives_probabilities(ops, probability, tmp_path):
    model = load_model(tiny_nets.save(tiny_nets.ending(*ops), tmp_path / "n.onnx"))
    found = scored_output(model)
    assert found.is_probability is probability
    assert (found.scale, found.zero_point) == (1.0, 0.0)
    assert (found.name, found.shape) == ("y", ("N", 4))


def test_codes_of_a_quantized_output_are_turned_into_real_numbers(tmp_path):
    proto = tiny_nets.ending("QuantizeLinear", output=TensorProto.INT8)
    model = load_model(tiny_nets.save(proto, tmp_path / "n.onnx"))
    found = scored_output(model)
    assert (found.scale, found.zero_point) == (0.25, 3.0)
    x = tiny_nets.samples()["x"]
    codes = model.run({"x": x})["y"]
    assert codes.dtype == np.int8
    assert found.real(codes) == pytest.approx((codes.astype(float) - 3) * 0.25)
    assert found.real(codes) == pytest.approx(x @ model.numbers["w"], abs=0.126)
    assert torch.equal(found.real_tensor(torch.tensor([3.0, 7.0])), torch.tensor([0.0, 1.0]))


def test_a_zero_point_counts_even_where_the_step_is_one(tmp_path):
    proto = tiny_nets.ending("QuantizeLinear", output=TensorProto.INT8)
    next(i for i in proto.graph.initializer if i.name == "scale").raw_data = np.float32(1).tobytes()
    found = scored_output(load_model(tiny_nets.save(proto, tmp_path / "n.onnx")))
    assert np.array_equal(found.real(np.array([3, 4], np.int8)), np.array([0, 1], np.float32))


def test_half_precision_is_widened_and_floats_pass_as_they_are(digits):
    found = scored_output(digits("float"))
    assert found.real(np.ones(2, np.float16)).dtype == np.float32
    same = np.ones(2, np.float64)
    assert found.real(same) is same


def test_an_output_that_is_not_there_is_named_with_those_that_are(digits):
    with pytest.raises(OptionError, match="has no output 'logit'; its outputs are logits"):
        scored_output(digits("float"), "logit")


def test_outputs_are_turned_samples_first_for_scores_and_gradients(tmp_path):
    proto = tiny_nets.ending("Transpose")
    model = load_model(tiny_nets.save(proto, tmp_path / "n.onnx"))
    found = scored_output(model)
    assert model.axes.outputs == {"y": 1}  # found by trial: the graph declares N×4
    assert (found.batch_axis, found.shape) == (1, ("N", 4))
    raw = model.run({"x": tiny_nets.samples()["x"]})["y"]
    assert raw.shape == (4, 30)
    assert np.array_equal(found.real(raw), raw.T)
    tensor = torch.tensor(raw, requires_grad=True)
    assert torch.equal(found.real_tensor(tensor), tensor.T)
    assert found.real_tensor(tensor).requires_grad
    assert found.real(np.float32(1)[None]).shape == (1,)  # an output without the axis is told by its size later


@pytest.mark.parametrize("ops", [("QuantizeLinear", "Unsqueeze"), ("QuantizeLinear", "Identity", "Transpose")])
def test_codes_behind_ops_that_move_them_are_real_numbers_too(ops, tmp_path):
    proto = tiny_nets.ending("QuantizeLinear", "Identity", output=TensorProto.INT8)
    last = proto.graph.node[-1]
    last.op_type = ops[-1]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    if ops[-1] == "Unsqueeze":
        proto.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axes"))
        last.input.append("axes")
    found = scored_output(load_model(tiny_nets.save(proto, tmp_path / "n.onnx")))
    assert (found.scale, found.zero_point) == (0.25, 3.0)


def test_a_scale_that_comes_through_identity_is_found(tmp_path):
    proto = tiny_nets.ending("QuantizeLinear", output=TensorProto.INT8)
    proto.graph.node.insert(0, helper.make_node("Identity", ["scale"], ["shared"], "same"))
    node = next(one for one in proto.graph.node if one.op_type == "QuantizeLinear")
    node.input[1] = "shared"
    found = scored_output(load_model(tiny_nets.save(proto, tmp_path / "n.onnx")))
    assert (found.scale, found.zero_point) == (0.25, 3.0)


def test_codes_that_a_quantized_product_makes_have_its_own_scale():
    numbers = {
        "a_s": np.float32(0.5), "a_z": np.uint8(0), "w": np.ones((4, 3), np.uint8), "w_s": np.float32(0.1),
        "w_z": np.uint8(0), "s": np.float32(0.25), "z": np.uint8(7),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "a_s", "a_z"], ["q"]),
        helper.make_node("QLinearMatMul", ["q", "a_s", "a_z", "w", "w_s", "w_z", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["n", 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in numbers.items()],
    )
    model = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    found = scored_output(model)
    assert (found.scale, found.zero_point) == (0.25, 7.0)
    codes = model.run({"x": np.full((1, 4), 2.0, np.float32)})["y"]
    assert found.real(codes)[0] == pytest.approx(0.8, abs=0.13)
