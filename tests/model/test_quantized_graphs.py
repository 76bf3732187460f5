"""Whole quantized networks against unoptimised onnxruntime: within one step of the output's codes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from faultsim.model.backend import FaultsimBackend
from faultsim.model.graph import compile_model
from faultsim.model.references import session
from faultsim.model.run import Execution
from faultsim.model.values import Codes

RNG = np.random.default_rng(17)
F = np.float32
DRAWS = 5
"""Noise that a published model is run on."""


def _weights(**shapes):
    return [
        numpy_helper.from_array(RNG.normal(0, 1 / np.sqrt(max(np.prod(s[1:]), 1)), s).astype(F), name)
        for name, s in shapes.items()
    ]


def conv_net() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "p1"], ["s2"]),
        helper.make_node("Sigmoid", ["s2"], ["g2"]),
        helper.make_node("Mul", ["s2", "g2"], ["m2"]),
        helper.make_node("Concat", ["m2", "p1"], ["k2"], axis=1),
        helper.make_node("AveragePool", ["k2"], ["a2"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("LeakyRelu", ["a2"], ["l2"], alpha=0.1),
        helper.make_node("GlobalAveragePool", ["l2"], ["q2"]),
        helper.make_node("Flatten", ["q2"], ["f2"]),
        helper.make_node("Gemm", ["f2", "w3", "b3"], ["y"], transB=1),
    ]
    weights = _weights(w1=(8, 3, 3, 3), b1=(8,), w2=(8, 8, 3, 3), b2=(8,), w3=(10, 16), b3=(10,))
    return _model(nodes, ["N", 3, 12, 12], weights)


def mlp() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m1"]),
        helper.make_node("Add", ["m1", "b1"], ["a1"]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("Gemm", ["r1", "w2", "b2"], ["y"]),
    ]
    return _model(nodes, ["N", 24], _weights(w1=(24, 32), b1=(32,), w2=(32, 10), b2=(10,)))


def _model(nodes, shape, weights) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


class _Calibration(CalibrationDataReader):
    def __init__(self, model: onnx.ModelProto) -> None:
        self.batches = iter([{"x": _input(model, 8)} for _ in range(2)])

    def get_next(self):
        return next(self.batches, None)


def _input(model: onnx.ModelProto, batch: int) -> np.ndarray:
    shape = [d.dim_value or batch for d in model.graph.input[0].type.tensor_type.shape.dim]
    return RNG.normal(size=shape).astype(F)


def _theirs(model: onnx.ModelProto, feeds):
    if any(node.op_type.startswith("QLinear") for node in model.graph.node):  # unoptimised, products may saturate
        return session(model, optimised=True, threads=1).run(None, feeds)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)


def _output_step(model: onnx.ModelProto) -> float:
    """Scale of the codes of the model's output."""
    scales = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    last = next(n for n in model.graph.node if model.graph.output[0].name in n.output)
    return float(scales[last.input[1]].max())


@pytest.mark.parametrize("network", [conv_net, mlp])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_static_quantization(network, form, activations, per_channel, tmp_path):
    model = network()
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        _Calibration(model),
        quant_format=form,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    quantized = onnx.load(tmp_path / "int8.onnx")
    feeds = {"x": _input(model, 16)}
    (theirs,) = _theirs(quantized, feeds)
    ours = FaultsimBackend.prepare(quantized).run(feeds)[0]
    step = _output_step(quantized)
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert np.mean(np.abs(ours - theirs) > 0.01 * step) <= 0.25


@pytest.mark.parametrize("network", [conv_net, mlp])
@pytest.mark.parametrize("weights", [QuantType.QUInt8, QuantType.QInt8])
def test_dynamic_quantization(network, weights, tmp_path):
    model = network()
    onnx.save(model, tmp_path / "float.onnx")
    # onnxruntime has no ConvInteger for int8 weights.
    ops = None if weights is QuantType.QUInt8 else ["MatMul", "Gemm"]
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx", weight_type=weights, op_types_to_quantize=ops)
    quantized = onnx.load(tmp_path / "int8.onnx")
    feeds = {"x": _input(model, 16)}
    (theirs,) = _theirs(quantized, feeds)
    ours = FaultsimBackend.prepare(quantized).run(feeds)[0]
    assert np.abs(ours - theirs).max() <= 0.02 * np.abs(theirs).max()
    assert np.median(np.abs(ours - theirs)) <= 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_gradients_reach_every_stored_code(form, tmp_path):
    model = conv_net()
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        _Calibration(model),
        quant_format=form,
        per_channel=True,
    )
    program = compile_model(onnx.load(tmp_path / "int8.onnx"))
    tensors = dict(program.tensors)
    wanted = [n for n, v in tensors.items() if isinstance(v, Codes) and v.values.ndim and "zero_point" not in n]
    assert len(wanted) == 6
    for name in wanted:
        stored = tensors[name]
        tensors[name] = Codes(stored.values.clone().requires_grad_(), stored.elem_type)
    execution = Execution(program, tensors, device=torch.device("cpu"))
    (y,) = execution.run(program.graph, {"x": torch.from_numpy(_input(model, 4))})
    torch.logsumexp(y, 1).sum().backward()
    for name in wanted:
        grad = tensors[name].values.grad
        assert grad is not None
        assert torch.isfinite(grad).all()
        assert grad.abs().sum() > 0


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mlperf_resnet8_int8", "mlperf_kws_int8", "coral_mobilenet_v2_quant"])
def test_published_int8_files(name, shared):
    model = onnx.load(shared / "data" / "zoo" / f"{name}.onnx")
    entry = model.graph.input[0]
    shape = [d.dim_value or 1 for d in entry.type.tensor_type.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
    prepared = FaultsimBackend.prepare(model)
    assert not prepared.program.fallbacks
    within, agree = 0, 0
    for _ in range(DRAWS):
        if np.issubdtype(dtype, np.integer):
            x = RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
        else:
            x = RNG.normal(size=shape).astype(dtype)
        ours, theirs = prepared.run({entry.name: x})[0], _theirs(model, {entry.name: x})[0]
        assert ours.dtype == theirs.dtype
        difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        step = 1.0 if np.issubdtype(ours.dtype, np.integer) else _step_before(model)
        within += bool(difference.max() <= 1.01 * step)
        agree += bool(ours.reshape(-1).argmax() == theirs.reshape(-1).argmax())
    # A sum on the edge between two codes goes either way, and the layers behind carry it on: node by node they agree.
    assert within >= 1
    assert agree > DRAWS / 2


def _step_before(model: onnx.ModelProto) -> float:
    """Scale of the last codes before the output."""
    scales = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    last = [n for n in model.graph.node if n.op_type == "DequantizeLinear"][-1]
    return float(scales[last.input[1]].max())
