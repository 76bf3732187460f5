"""What codes stand for: a tensor of zero codes makes its op give 0, real numbers are those the graph computes with."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.attacks.real import real_values, zero_code
from faultsim.corruption import Stored
from faultsim.model import load_model

RNG = np.random.default_rng(0)


def _made(nodes, tensors, x, functions=()):
    sizes = ("n", "a", "b") if x.dtype == np.int64 else ("n", "a")
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), ["n", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(sizes))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    imports += [helper.make_opsetid("own", 1)] if functions else []
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=10)
    onnx.checker.check_model(made)
    return load_model(made)


FLOATS = RNG.normal(size=(3, 8)).astype(np.float32)
CODES = RNG.integers(0, 256, size=(3, 8)).astype(np.uint8)
WEIGHT = RNG.integers(60, 200, size=(8, 6)).astype(np.uint8)


def transposed():
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("DequantizeLinear", ["t", "s", "z"], ["d"], "dq"),
        helper.make_node("MatMul", ["x", "d"], ["y"], "fc"),
    ]
    return nodes, {"w": WEIGHT.T.copy(), "s": np.float32(0.01), "z": np.uint8(128)}, FLOATS


def transposed_by_channel():
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("DequantizeLinear", ["t", "s", "z"], ["d"], "dq", axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"], "fc"),
    ]
    steps = np.linspace(0.01, 0.02, 6, dtype=np.float32)
    return nodes, {"w": WEIGHT.T.copy(), "s": steps, "z": np.arange(100, 106).astype(np.uint8)}, FLOATS


def behind_identity():
    nodes = [
        helper.make_node("Identity", ["z"], ["same"], "shared"),
        helper.make_node("DequantizeLinear", ["w", "s", "same"], ["d"], "dq"),
        helper.make_node("MatMul", ["x", "d"], ["y"], "fc"),
    ]
    return nodes, {"w": WEIGHT, "s": np.float32(0.01), "z": np.uint8(77)}, FLOATS


def in_blocks():
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], "dq", axis=0, block_size=4),
        helper.make_node("MatMul", ["x", "d"], ["y"], "fc"),
    ]
    zeros = RNG.integers(90, 160, size=(2, 6)).astype(np.uint8)
    steps = RNG.uniform(0.01, 0.02, size=(2, 6)).astype(np.float32)
    return nodes, {"w": WEIGHT, "s": steps, "z": zeros}, FLOATS


def of_integers():
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w", "", "z"], ["i"], "fc"),
        helper.make_node("Cast", ["i"], ["y"], "cast", to=TensorProto.FLOAT),
    ]
    return nodes, {"w": WEIGHT, "z": np.arange(120, 126).astype(np.uint8)}, CODES


def to_float():
    node = helper.make_node(
        "MatMulIntegerToFloat", ["x", "w", "a", "s", "zx", "z"], ["y"], "fc", domain="com.microsoft"
    )
    stored = {"w": WEIGHT, "a": np.float32(0.1), "s": np.float32(0.01), "zx": np.uint8(3), "z": np.uint8(131)}
    return [node], stored, CODES


def looked_up():
    nodes = [
        helper.make_node("Gather", ["w", "x"], ["g"], "look"),
        helper.make_node("DequantizeLinear", ["g", "s", "z"], ["y"], "dq"),
    ]
    return nodes, {"w": WEIGHT, "s": np.float32(0.01), "z": np.uint8(128)}, RNG.integers(0, 8, size=(3, 2))


MODELS = [transposed, transposed_by_channel, behind_identity, in_blocks, of_integers, to_float, looked_up]


@pytest.mark.parametrize("make", MODELS)
def test_codes_of_zero_give_zero(make):
    model = _made(*make())
    x = make()[2]
    site = model.site("w")
    assert site.zero is not None
    clean = model.run({"x": x})["y"]
    codes = np.broadcast_to(site.zero, site.shape).astype(np.uint8)
    found = model.run({"x": x}, {"w": codes})["y"]
    assert np.abs(clean).max() > 0.1
    assert found == pytest.approx(np.zeros_like(found), abs=1e-6)


def test_in_a_function_too():
    body = helper.make_function(
        "own",
        "Dense",
        ["x", "w", "s", "z"],
        ["y"],
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], "dq"),
            helper.make_node("MatMul", ["x", "d"], ["y"], "fc"),
        ],
        [helper.make_opsetid("", 21)],
    )
    node = helper.make_node("Dense", ["x", "w", "s", "z"], ["y"], "dense", domain="own")
    stored = {"w": WEIGHT, "s": np.float32(0.01), "z": np.uint8(128)}
    site = _made([node], stored, FLOATS, functions=[body]).site("w")
    assert site.zero is not None
    assert float(site.zero) == 128


@pytest.mark.parametrize("make", [transposed, transposed_by_channel, behind_identity, in_blocks])
def test_real_numbers_are_those_that_the_graph_multiplies_with(make):
    model = _made(*make())
    site = model.site("w")
    assert site.scale is not None
    eye = np.eye(8, dtype=np.float32)
    seen = model.run({"x": eye})["y"]
    real = real_values(Stored(site, site.format, model.numbers["w"]))
    assert (real if real.shape == seen.shape else real.T) == pytest.approx(seen, abs=1e-5)


def test_last_block_may_be_short():
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], "dq", axis=0, block_size=3),
        helper.make_node("MatMul", ["x", "d"], ["y"], "fc"),
    ]
    steps = RNG.uniform(0.01, 0.02, size=(3, 6)).astype(np.float32)
    model = _made(nodes, {"w": WEIGHT.view(np.int8), "s": steps}, FLOATS)
    site = model.site("w")
    seen = model.run({"x": np.eye(8, dtype=np.float32)})["y"]
    assert real_values(Stored(site, site.format, model.numbers["w"])) == pytest.approx(seen, abs=1e-5)


def test_first_factor_of_a_quantized_product_has_its_own_step_and_zero():
    node = helper.make_node("QLinearMatMul", ["w", "ws", "wz", "x", "xs", "xz", "ys", "yz"], ["q"], "fc")
    nodes = [node, helper.make_node("DequantizeLinear", ["q", "ys", "yz"], ["y"], "dq")]
    stored = {"w": WEIGHT, "ws": np.float32(0.5), "wz": np.uint8(9), "xs": np.float32(0.25), "xz": np.uint8(3)}
    stored |= {"ys": np.float32(1.0), "yz": np.uint8(128)}
    site = _made(nodes, stored, RNG.integers(0, 256, size=(6, 3)).astype(np.uint8)).site("w")
    assert site.scale is not None
    assert site.zero is not None
    assert (float(site.scale), float(site.zero)) == (0.5, 9.0)


def test_signed_codes_without_a_zero_point_have_zero_at_zero():
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], "dq"),
        helper.make_node("MatMul", ["x", "d"], ["y"], "fc"),
    ]
    model = _made(nodes, {"w": WEIGHT.view(np.int8), "s": np.float32(0.01)}, FLOATS)
    site = model.site("w")
    assert site.zero is None
    assert float(zero_code(Stored(site, site.format, model.numbers["w"]))) == 0
