"""QONNX ops against the qonnx executor, and a published QONNX file."""

import numpy as np
import onnx
import pytest
import torch
from one_node import one_node
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.custom_op.general.multithreshold import multithreshold
from qonnx.transformation.infer_shapes import InferShapes

from faultsim.model.backend import FaultsimBackend
from faultsim.model.ops.qonnx import BipolarQuant, MultiThreshold, Quant

RNG = np.random.default_rng(11)
F = np.float32
DOMAIN = "qonnx.custom_op.general"


def both(op_type, inputs, *, versions=1, **attributes):
    model = one_node(op_type, inputs, domain=DOMAIN, constants=[n for n in inputs if n != "x"], opset=13, **attributes)
    model.opset_import[1].version = versions
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for extent in inputs["x"].shape:
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = extent
    ours = FaultsimBackend.prepare(model).run({"x": inputs["x"]})[0]
    return ours, execute_onnx(ModelWrapper(model), {"x": inputs["x"]})["y"]


def grid():
    """Numbers on, beside and halfway between the codes, and far outside."""
    return np.concatenate([np.arange(-20, 20, 0.25), RNG.normal(0, 9, 100), [300, -300]]).astype(F).reshape(2, -1)


@pytest.mark.parametrize("mode", ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "round"])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("narrow", [0, 1])
def test_quant_equals_qonnx(mode, signed, narrow):
    inputs = {"x": grid(), "s": F(0.5), "z": F(1), "b": F(4)}
    ours, theirs = both("Quant", inputs, signed=signed, narrow=narrow, rounding_mode=mode)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_quant_with_a_scale_per_channel(bits):
    inputs = {"x": grid(), "s": np.array([[0.3], [2]], F), "z": F(0), "b": F(bits)}
    ours, theirs = both("Quant", inputs, signed=1, narrow=1, rounding_mode="ROUND")
    assert np.array_equal(ours, theirs)


def test_bipolar_quant_equals_qonnx():
    ours, theirs = both("BipolarQuant", {"x": grid(), "s": F(0.7)})
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND"])
def test_trunc_equals_qonnx_in_both_signatures(mode):
    old = {"x": grid(), "s": F(0.25), "z": F(0), "b": F(8), "o": F(5)}
    ours, theirs = both("Trunc", old, rounding_mode=mode)
    assert np.array_equal(ours, theirs)
    new = {"x": grid(), "s": F(0.25), "z": F(0), "b": F(8), "t": F(1), "o": F(4)}
    ours, theirs = both("Trunc", new, versions=2, rounding_mode=mode, signed=1, narrow=0)
    assert np.array_equal(ours, theirs)


def test_float_quant_equals_qonnx():
    inputs = {"x": grid(), "s": F(0.5), "e": F(4), "m": F(3), "b": F(7), "l": F(240)}
    ours, theirs = both(
        "FloatQuant", inputs, has_inf=0, has_nan=0, has_subnormal=1, saturation=1, rounding_mode="ROUND"
    )
    assert np.allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_multi_threshold_equals_finn(shape, channels):
    x, thresholds = RNG.normal(size=shape).astype(F), np.sort(RNG.normal(size=(channels, 7)).astype(F), 1)
    ours = MultiThreshold(torch.from_numpy(x), torch.from_numpy(thresholds), out_scale=2.0, out_bias=-1.0)
    assert np.array_equal(ours.numpy(), multithreshold(x, thresholds, 2.0, -1.0))


def test_gradients_are_straight_through_and_stop_where_saturated():
    x = torch.tensor([0.3, 9.0, -9.0], requires_grad=True)
    one, zero, four = torch.tensor(1.0), torch.tensor(0.0), torch.tensor(4.0)
    Quant(x, one, zero, four).sum().backward()
    assert x.grad.tolist() == [1, 0, 0]
    y = torch.tensor([0.3, 9.0], requires_grad=True)
    BipolarQuant(y, torch.tensor(0.5)).sum().backward()
    assert y.grad.tolist() == [0.5, 0]


def test_an_unknown_rounding_mode_is_named():
    with pytest.raises(ValueError, match="rounding_mode 'STOCHASTIC' is unknown"):
        Quant(*[torch.tensor(2.0)] * 4, rounding_mode="STOCHASTIC")


@pytest.mark.shared
def test_a_published_file_of_opset_9_agrees_with_the_qonnx_executor(shared):
    path = shared / "data" / "zoo" / "TFC_2W2A.onnx"
    model = onnx.load(path)
    prepared = FaultsimBackend.prepare(model)
    wrapped = ModelWrapper(str(path))
    for node in wrapped.graph.node:
        if node.domain == "onnx.brevitas":
            node.domain = DOMAIN
    wrapped = wrapped.transform(InferShapes())
    entry, end = model.graph.input[0].name, model.graph.output[0].name
    agreeing = 0
    for _ in range(10):
        x = RNG.random((1, 1, 28, 28)).astype(F)
        ours, theirs = prepared.run({entry: x})[0], execute_onnx(wrapped, {entry: x})[end]
        agreeing += np.allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    # BatchNormalization's last bit decides a 2-bit code now and then.
    assert agreeing >= 8
