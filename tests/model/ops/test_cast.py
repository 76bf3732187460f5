"""Casts against onnxruntime, where ONNX leaves the result open too; straight-through gradients into integer codes."""

import numpy as np
import pytest
import torch
from one_node import both, session
from onnx import TensorProto, helper

from faultsim.model.backend import FaultsimBackend
from faultsim.model.ops.cast import BitCast, Cast
from faultsim.model.values import Codes

NUMBERS = np.array(
    [np.nan, np.inf, -np.inf, 3e9, -3e9, 3e5, 300, -300, 1.9, -1.9, 1e20, 255.9, 65536, 0.5, -0.0], np.float32
)
INTEGERS = ["INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "BOOL"]


@pytest.mark.parametrize("to", INTEGERS)
def test_floats_out_of_range_become_what_onnxruntime_makes_of_them(to):
    ((ours, theirs),) = both("Cast", {"x": NUMBERS}, to=getattr(TensorProto, to))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("to", INTEGERS)
def test_integers_out_of_range_wrap(to):
    values = np.array([-(2**63), -(2**31) - 5, -129, -1, 0, 1, 128, 70000, 2**32 + 7], np.int64)
    ((ours, theirs),) = both("Cast", {"x": values}, to=getattr(TensorProto, to))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("to", [TensorProto.INT4, TensorProto.UINT4])
def test_nibbles_round_half_away_from_zero_and_wrap(to):
    values = np.append(NUMBERS, np.array([-8.6, -7.5, -1.5, 2.5, 7.6, 15, 17, 30], np.float32))
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["c"], to=to), helper.make_node("Cast", ["c"], ["y"], to=TensorProto.INT32)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, values.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    ours = FaultsimBackend.prepare(model).run([values])[0]
    np.testing.assert_array_equal(ours, session(model).run(None, {"x": values})[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_numbers_print_as_onnxruntime_prints_them(dtype):
    values = np.array(
        [1, 0, 0.1, 1e20, 123456789, np.inf, np.nan, 0.47892547] if dtype in (np.float32, np.float64) else [1, 0, 1]
    )
    ((ours, theirs),) = both("Cast", {"x": values.astype(dtype)}, to=TensorProto.STRING)
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("to", ["FLOAT", "DOUBLE", "INT32", "INT64", "UINT8"])
def test_text_is_read(to):
    ((ours, theirs),) = both("Cast", {"x": np.array(["1", "12", "3"], object)}, to=getattr(TensorProto, to))
    np.testing.assert_array_equal(ours, theirs)


def test_a_float_cast_to_codes_and_back_passes_its_gradient_straight_through():
    x = torch.tensor([1.7, -2.2, 300.0], requires_grad=True)
    codes = Cast(x, to=TensorProto.INT8)
    assert isinstance(codes, Codes)
    assert codes.values.tolist() == [1.0, -2.0, 44.0]
    Cast(codes, to=TensorProto.FLOAT).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("mode", "saturate", "want"),
    [
        ("up", 1, [4.0, 2.0**-127, 2.0**127, 1.0]),
        ("down", 1, [2.0, 2.0**-127, 2.0**127, 1.0]),
        ("nearest", 1, [4.0, 2.0**-127, 2.0**127, 1.0]),
        ("nearest", 0, [4.0, float("nan"), float("nan"), 1.0]),
    ],
)
def test_powers_of_two(mode, saturate, want):
    codes = Cast(
        torch.tensor([3.0, 0.0, torch.inf, 1.0]), to=TensorProto.FLOAT8E8M0, round_mode=mode, saturate=saturate
    )
    np.testing.assert_array_equal(codes.values.double().numpy(), np.array(want))


@pytest.mark.parametrize(
    ("start", "there"),
    [
        (Codes(torch.tensor([-1.0, 3.0, -8.0]), TensorProto.INT4), TensorProto.UINT4),
        (Codes(torch.tensor([1.5, -6.0]), TensorProto.FLOAT4E2M1), TensorProto.INT4),
        (Codes(torch.tensor([1.0, -448.0]), TensorProto.FLOAT8E4M3FN), TensorProto.UINT8),
        (torch.tensor([1.0, -2.0]), TensorProto.UINT32),
    ],
)
def test_bits_read_as_another_type_come_back(start, there):
    kind = start.elem_type if isinstance(start, Codes) else TensorProto.FLOAT
    back = BitCast(BitCast(start, to=there), to=kind)
    numbers = [v.values if isinstance(v, Codes) else v for v in (start, back)]
    assert torch.equal(*numbers)
