"""QuantizeLinear and kin against onnxruntime, non-finite values included; gradients are straight-through."""

import numpy as np
import pytest
import torch
from one_node import both
from onnx import TensorProto

from faultsim.model import ste
from faultsim.model.ops._codes import FLOAT_KINDS, round_to_float
from faultsim.model.ops.quantize import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from faultsim.model.values import FLOAT8, Codes

RNG = np.random.default_rng(3)
EXTREME = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.5, 1.5, 2.5, -0.5, -1.5, -0.0], np.float32)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("zero", [0, 3])
@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_codes_equal_onnxruntime_also_for_non_finite_values(dtype, zero, domain):
    x = np.concatenate([RNG.normal(0, 40, 500).astype(np.float32), EXTREME])
    inputs = {"x": x, "s": np.float32(0.37), "z": np.array(zero, dtype)}
    ((ours, theirs),) = both("QuantizeLinear", inputs, domain=domain)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("opset", [10, 13, 19, 21, 23])
def test_every_opset_gives_the_same_codes(opset):
    inputs = {"x": RNG.normal(0, 40, (3, 5)).astype(np.float32), "s": np.float32(0.5), "z": np.uint8(128)}
    ((ours, theirs),) = both("QuantizeLinear", inputs, opset=opset)
    assert np.array_equal(ours, theirs)


def test_per_axis_and_blocked_follow_onnxruntime():
    x = RNG.normal(0, 40, (2, 3, 8)).astype(np.float32)
    scale, zero = np.array([0.1, 1, 7], np.float32), np.array([0, 5, -9], np.int8)
    ((ours, theirs),) = both("QuantizeLinear", {"x": x, "s": scale, "z": zero}, axis=1)
    assert np.array_equal(ours, theirs)
    blocks = RNG.uniform(0.1, 3, (2, 3, 2)).astype(np.float32)
    inputs = {"x": x, "s": blocks, "z": np.zeros((2, 3, 2), np.int8)}
    ((ours, theirs),) = both("QuantizeLinear", inputs, axis=2, block_size=4)
    assert np.array_equal(ours, theirs)
    ((ours, theirs),) = both("DequantizeLinear", {**inputs, "x": ours}, axis=2, block_size=4)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize("constants", [(), ("x",)])
def test_dequantized_floats_equal_onnxruntime(dtype, constants):
    info = np.iinfo(dtype)
    x = RNG.integers(info.min, info.max, 200, dtype=dtype, endpoint=True)
    inputs = {"x": x, "s": np.float32(0.0123), "z": None if dtype is np.int32 else np.array(7, dtype)}
    ((ours, theirs),) = both("DequantizeLinear", inputs, constants=constants)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("x", [RNG.normal(3, 2, 99), RNG.normal(-9, 1, 9), np.zeros(5), np.full(3, 2.5)])
def test_dynamic_quantization_equals_onnxruntime(x):
    for ours, theirs in both("DynamicQuantizeLinear", {"x": x.astype(np.float32)}, outputs=("y", "s", "z")):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("bad", "place"),
    # onnxruntime's answer for a NaN depends on where it stands: in the last vector lane it is all zeros.
    [(np.nan, 0), (np.nan, 7), (np.inf, 0), (np.inf, 999), (-np.inf, 7), (-np.inf, 999)],
)
def test_dynamic_quantization_of_non_finite_values_equals_onnxruntime(bad, place):
    x = RNG.normal(0, 3, 1000).astype(np.float32)
    x[place] = bad
    for ours, theirs in both("DynamicQuantizeLinear", {"x": x}, outputs=("y", "s", "z")):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("elem", list(FLOAT_KINDS))
def test_float8_and_float4_round_as_ml_dtypes(elem):
    x = np.concatenate([RNG.normal(0, 10.0**e, 300) for e in range(-6, 3)]).astype(np.float32)
    x = x[np.abs(x) < FLOAT_KINDS[elem].greatest]
    want = x.astype(FLOAT8[elem]).astype(np.float32)
    got = round_to_float(torch.from_numpy(x), elem).numpy()
    assert np.array_equal(got, want)


def test_gradients_are_straight_through_and_zero_where_saturated():
    x = torch.tensor([0.3, 700.0, -700.0, torch.nan, torch.inf], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    codes = QuantizeLinear(x, scale, Codes(torch.tensor(3.0), TensorProto.INT8))
    back = DequantizeLinear(codes, scale.detach(), Codes(torch.tensor(3.0), TensorProto.INT8))
    back.sum().backward()
    assert codes.values.tolist() == [4, 127, -128, -128, 127]
    assert x.grad.tolist() == [1, 0, 0, 0, 0]
    assert scale.grad.item() == pytest.approx(-0.3 / 0.5)


def test_gradients_reach_stored_codes_scale_and_zero_point():
    codes = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    scale, zero = torch.tensor(0.5, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    real = DequantizeLinear(Codes(codes, TensorProto.INT8), scale, Codes(zero, TensorProto.INT8))
    real.sum().backward()
    assert (codes.grad.tolist(), scale.grad.item(), zero.grad.item()) == ([0.5] * 3, 3.0, -1.5)


def test_dynamic_quantization_has_a_finite_gradient():
    x = torch.tensor([1.0, -2.0, 0.3], requires_grad=True)
    codes, scale, zero = DynamicQuantizeLinear(x)
    DequantizeLinear(codes, scale, zero).square().sum().backward()
    assert torch.isfinite(x.grad).all()


def test_saturate_gives_the_least_code_for_nan_also_under_gradients():
    x = torch.tensor([torch.nan, 9.0, 1.0], requires_grad=True)
    y = ste.saturate(x, -4, 4)
    (y * torch.tensor([torch.nan, 1.0, 1.0])).sum().backward()
    assert y.tolist() == ste.saturate(x.detach(), -4, 4).tolist() == [-4, 4, 1]
    assert x.grad.tolist() == [0, 0, 1]


def test_quantization_never_writes_on_its_input():
    x = torch.randn(8)
    before = x.clone()
    DequantizeLinear(QuantizeLinear(x, torch.tensor(1.0)), torch.tensor(1.0))
    assert torch.equal(x, before)
