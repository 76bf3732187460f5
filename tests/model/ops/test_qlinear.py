"""Integer products and onnxruntime's quantized ops against it: accumulators exact, codes within a step."""

import numpy as np
import pytest
import torch
from one_node import both, exact_runtime, one_node, session, steps_apart
from onnx import TensorProto, helper

from faultsim.model.backend import FaultsimBackend
from faultsim.model.ops.qlinear import MatMulInteger, QLinearConv
from faultsim.model.values import Codes

RNG = np.random.default_rng(5)
MS = "com.microsoft"
F = np.float32


def codes(*shape, dtype=np.uint8):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def triple(name, array, scale, zero):
    return {name: array, f"{name}_s": F(scale), f"{name}_z": np.array(zero, array.dtype)}


def within_one_step(op_type, inputs, **options):
    for ours, theirs in both(op_type, inputs, **options):
        assert steps_apart(ours, theirs) <= 1
        assert np.mean(ours != theirs) <= 0.02


@exact_runtime
@pytest.mark.parametrize("depth", [7, 300, 5000])
def test_integer_matmul_is_exact(depth):
    inputs = {
        "a": codes(3, depth),
        "b": codes(depth, 4, dtype=np.int8),
        "za": np.uint8(255),
        "zb": np.int8(-128),
    }
    ((ours, theirs),) = both("MatMulInteger", inputs, constants=("b",))
    assert np.array_equal(ours, theirs)


def test_integer_matmul_takes_a_zero_point_per_column():
    inputs = {"a": codes(3, 9), "b": codes(9, 4), "za": np.uint8(7), "zb": codes(4)}
    ((ours, theirs),) = both("MatMulInteger", inputs)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("pads", [None, [1, 0, 2, 1]])
@pytest.mark.parametrize("group", [1, 2])
def test_integer_convolution_is_exact(pads, group):
    inputs = {"x": codes(2, 4, 9, 8), "w": codes(6, 4 // group, 3, 3), "zx": np.uint8(130), "zw": np.uint8(9)}
    extra = {"pads": pads} if pads else {"auto_pad": "SAME_LOWER"}
    ((ours, theirs),) = both("ConvInteger", inputs, group=group, strides=[2, 1], **extra)
    assert np.array_equal(ours, theirs)


@exact_runtime
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantized_convolution_is_within_one_code(dtype):
    inputs = {
        **triple("x", codes(2, 3, 10, 10, dtype=dtype), 0.02, 3),
        "w": codes(5, 3, 3, 3, dtype=np.int8),
        "ws": RNG.uniform(0.001, 0.01, 5).astype(F),
        "wz": np.zeros(5, np.int8),
        "ys": F(0.05),
        "yz": np.array(5, dtype),
        "b": RNG.integers(-5000, 5000, 5, dtype=np.int32),
    }
    within_one_step("QLinearConv", inputs, pads=[1, 1, 1, 1], constants=("w", "ws", "wz", "b"))


def test_an_int32_accumulator_wraps_around_as_the_kernel_does():
    top = np.iinfo(np.int32).max
    inputs = {
        **triple("x", np.full((1, 1, 1, 1), 9, np.uint8), 1, 0),
        **triple("w", np.full((1, 1, 1, 1), 9, np.uint8), 1, 0),
        "ys": F(2.0**25),
        "yz": np.uint8(128),
        "b": np.array([top - 5], np.int32),
    }
    ((ours, theirs),) = both("QLinearConv", inputs)
    assert np.array_equal(ours, theirs)
    assert ours.item() == 64


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantized_matmul_is_within_one_code(dtype):
    inputs = {
        **triple("a", codes(5, 64, dtype=dtype), 0.02, 3),
        **triple("b", codes(64, 7, dtype=dtype), 0.003, 1),
        "ys": F(0.2),
        "yz": np.array(9, dtype),
    }
    within_one_step("QLinearMatMul", inputs)


@pytest.mark.parametrize("op_type", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantized_arithmetic(op_type, dtype):
    inputs = {
        **triple("a", codes(5, 33, dtype=dtype), 0.02, 3),
        **triple("b", codes(33, dtype=dtype), 0.03, -7 if dtype is np.int8 else 7),
        "ys": F(0.08),
        "yz": np.array(9, dtype),
    }
    within_one_step(op_type, inputs, domain=MS)


@pytest.mark.parametrize(
    ("op_type", "options"),
    [
        ("QLinearSigmoid", {}),
        ("QLinearLeakyRelu", {"alpha": 0.2}),
        ("QLinearGlobalAveragePool", {}),
        ("QLinearAveragePool", {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
        ("QLinearAveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ],
)
def test_quantized_functions_of_one_tensor(op_type, options):
    inputs = {**triple("x", codes(2, 3, 6, 8), 0.03, 120), "ys": F(0.01137), "yz": np.uint8(60)}
    within_one_step(op_type, inputs, domain=MS, **options)


@pytest.mark.parametrize(("axis", "opset"), [(1, 13), (2, 11)])
def test_quantized_softmax(axis, opset):
    inputs = {**triple("x", codes(2, 3, 6, 8), 0.03, 120), "ys": F(0.00371), "yz": np.uint8(60)}
    model = one_node("QLinearSoftmax", inputs, domain=MS, axis=axis)
    model.graph.node[0].attribute.append(helper.make_attribute("opset", opset))
    feeds = {n: np.asarray(a) for n, a in inputs.items()}
    ours, theirs = FaultsimBackend.prepare(model).run(feeds)[0], session(model).run(None, feeds)[0]
    assert steps_apart(ours, theirs) <= 1


def test_quantized_concat_and_where():
    parts = {**triple("a", codes(2, 3), 0.02, 3), **triple("b", codes(2, 4), 0.05, 99)}
    within_one_step("QLinearConcat", {"ys": F(0.04), "yz": np.uint8(7), **parts}, domain=MS, axis=1)
    parts = {**triple("a", codes(2, 3), 0.02, 3), **triple("b", codes(2, 3), 0.05, 99)}
    inputs = {"c": RNG.random((2, 3)) < 0.5, **parts, "ys": F(0.04), "yz": np.uint8(7)}
    within_one_step("QLinearWhere", inputs, domain=MS, constants=("a_s", "a_z", "b_s", "b_z", "ys", "yz"))


@exact_runtime
@pytest.mark.parametrize("given", [True, False])
def test_quantized_gemm(given):
    inputs = {
        **triple("a", codes(5, 12), 0.02, 3),
        **triple("b", codes(7, 12, dtype=np.int8), 0.003, 0),
        "c": RNG.integers(-999, 999, 7, dtype=np.int32),
        "ys": F(0.02) if given else None,
        "yz": np.uint8(9) if given else None,
    }
    ((ours, theirs),) = both("QGemm", inputs, domain=MS, transB=1, alpha=1.5)
    if given:
        assert steps_apart(ours, theirs) <= 1
    else:
        assert np.allclose(ours, theirs, rtol=1e-6)


@exact_runtime
def test_integer_product_to_float_and_on_the_fly():
    inputs = {
        "a": codes(5, 12),
        "b": codes(12, 7, dtype=np.int8),
        "as": F(0.1),
        "bs": RNG.uniform(0.1, 1, 7).astype(F),
        "az": np.uint8(3),
        "bz": codes(7, dtype=np.int8),
        "bias": RNG.normal(size=7).astype(F),
    }
    ((ours, theirs),) = both("MatMulIntegerToFloat", inputs, domain=MS)
    assert np.allclose(ours, theirs, rtol=1e-5)
    dynamic = {k: inputs[k] for k in ("b", "bs", "bz", "bias")}
    dynamic = {"a": RNG.normal(size=(5, 12)).astype(F), **dynamic}
    ((ours, theirs),) = both("DynamicQuantizeMatMul", dynamic, domain=MS, constants=("b", "bs", "bz"))
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero", [True, False])
def test_weights_of_some_bits(bits, zero):
    k, n, block = 40, 6, 16
    blocks = -(-k // block)
    inputs = {
        "a": RNG.normal(size=(3, k)).astype(F),
        "b": codes(n, blocks, block * bits // 8),
        "s": RNG.uniform(0.01, 0.1, (n, blocks)).astype(F),
        "z": codes(n, -(-blocks * bits // 8)) if zero else None,
    }
    options = {"K": k, "N": n, "bits": bits, "block_size": block}
    ((ours, theirs),) = both("MatMulNBits", inputs, domain=MS, constants=("b", "s", "z"), **options)
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_rows_of_a_quantized_table():
    inputs = {
        "d": codes(9, 16),
        "i": np.array([[1, 8], [0, 3]], np.int64),
        "s": RNG.uniform(0.01, 0.1, (9, 2)).astype(F),
    }
    ((ours, theirs),) = both(
        "GatherBlockQuantized", inputs, domain=MS, constants=("d", "s"), block_size=16, quantize_axis=1
    )
    assert np.allclose(ours, theirs, rtol=1e-6)


def test_gradients_reach_weight_and_bias_codes_through_a_quantized_convolution():
    weight = torch.full((1, 1, 1, 1), 3.0, requires_grad=True)
    bias = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)
    one, zero = torch.tensor(1.0), Codes(torch.tensor(0.0), TensorProto.INT8)
    x = Codes(torch.tensor([[[[2.0, 100.0]]]]), TensorProto.INT8)
    y = QLinearConv(x, one, zero, Codes(weight, TensorProto.INT8), one, zero, one, zero, Codes(bias, TensorProto.INT32))
    y.values.sum().backward()
    assert y.values.tolist() == [[[[10, 127]]]]
    assert (weight.grad.item(), bias.grad.item()) == (2, 1)


def test_an_integer_product_is_differentiable_beyond_float32():
    weight = torch.full((3000, 1), 127.0, requires_grad=True)
    y = MatMulInteger(Codes(torch.full((1, 3000), 255.0), TensorProto.UINT8), Codes(weight, TensorProto.INT8))
    y.values.sum().backward()
    assert y.values.item() == 3000 * 127 * 255
    assert (weight.grad == 255).all()
