"""Sums, products, powers, order and truth against onnxruntime in every type it computes with; gradients of codes."""

import ml_dtypes
import numpy as np
import pytest
import torch
from one_node import both
from onnx import TensorProto

from faultsim.model.ops.arithmetic import Add, Div, Mul, Sub
from faultsim.model.ops.extremes import Clip
from faultsim.model.ops.logic import Where
from faultsim.model.values import Codes

RNG = np.random.default_rng(3)
FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
WORDS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3e38, -3e38, 1e-30, 2.5], np.float32)


def whole(dtype, *shape):
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def same(op_type, inputs, **options):
    for ours, theirs in both(op_type, inputs, **options):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64, np.int8, np.uint8])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
def test_integers_wrap_around(op_type, dtype):
    same(op_type, {"a": whole(dtype, 3, 1, 5), "b": whole(dtype, 4, 1)})


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64, np.int8, np.uint8])
def test_integer_quotients_round_towards_zero(dtype):
    divisor = np.maximum(whole(dtype, 7), 1)
    same("Div", {"a": whole(dtype, 5, 7), "b": divisor})


@pytest.mark.parametrize("dtype", WORDS)
def test_integer_remainders_take_the_sign_of_the_divisor(dtype):
    divisor = whole(dtype, 7)
    same("Mod", {"a": whole(dtype, 5, 7), "b": np.where(divisor == 0, dtype(1), divisor)})


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int32, np.int64, np.float32])
@pytest.mark.parametrize("op_type", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Max", "Min"])
def test_order_holds_over_the_whole_range(op_type, dtype):
    if dtype == np.float32:
        values = {"a": SPECIAL, "b": SPECIAL[::-1].copy()}
    else:
        values = {"a": whole(dtype, 40), "b": whole(dtype, 40)}
    same(op_type, values)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_shifts_bring_zeros(dtype, direction):
    steps = RNG.integers(0, np.iinfo(dtype).bits, 30).astype(dtype)
    same("BitShift", {"a": whole(dtype, 30), "b": steps}, direction=direction)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_powers(dtype, exponent):
    base = np.array([0, 1, 2, 3, -4 if exponent != 0.5 else 4], dtype)
    for ours, theirs in both("Pow", {"a": base, "b": np.float32(exponent)}):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("low", [-2.0, np.nan, None])
@pytest.mark.parametrize("high", [2.0, np.nan, None, -3.0])
def test_clip_keeps_nan_and_ignores_bounds_that_are_nan(low, high):
    bounds = {"l": None if low is None else np.float32(low), "h": None if high is None else np.float32(high)}
    same("Clip", {"x": SPECIAL, **bounds})


@pytest.mark.parametrize("dtype", [np.uint64, np.int8, np.int64])
def test_clip_of_integers(dtype):
    same("Clip", {"x": whole(dtype, 40), "l": dtype(3), "h": dtype(100)})


def test_a_bound_that_needs_a_gradient_clips_alike():
    x = torch.from_numpy(SPECIAL)
    low, high = torch.tensor(-1.5, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    clipped = Clip(x, low, high)
    assert torch.equal(clipped.detach().nan_to_num(9), Clip(x, low.detach(), high.detach()).nan_to_num(9))
    clipped.nan_to_num().sum().backward()
    assert (float(low.grad), float(high.grad)) == (2.0, 3.0)


@pytest.mark.parametrize(
    ("function", "first", "second", "result", "slope"),
    [(Add, 127.0, 3.0, -126.0, 1.0), (Sub, -127.0, 5.0, 124.0, 1.0), (Mul, 127.0, 5.0, 123.0, 5.0)],
)
def test_sums_and_products_of_codes_wrap_and_pass_gradients(function, first, second, result, slope):
    a = torch.tensor([first], requires_grad=True)
    total = function(Codes(a, TensorProto.INT8), Codes(torch.tensor([second]), TensorProto.INT8))
    assert total.values.item() == result
    total.values.sum().backward()
    assert a.grad.item() == slope


def test_choosing_between_codes_keeps_them_codes():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    chosen = Where(torch.tensor([True, False]), Codes(x, TensorProto.INT8), torch.tensor([7, 8], dtype=torch.int8))
    assert chosen.elem_type == TensorProto.INT8
    assert chosen.values.tolist() == [1.0, 8.0]
    chosen.values.sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_a_quotient_passes_gradients_to_both_sides():
    a = torch.rand(3, 4, dtype=torch.float64).add(1).requires_grad_()
    b = torch.rand(4, dtype=torch.float64).add(1).requires_grad_()
    assert torch.autograd.gradcheck(Div, (a, b))
