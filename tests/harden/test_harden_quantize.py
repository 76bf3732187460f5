"""Plain quantization of a float graph, run in onnxruntime: codes, scales, and what a hardening says of the three."""

import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import assess
from faultsim.errors import ModelError, OptionError
from faultsim.harden import Hardening, Training, harden
from faultsim.harden.export import check_same_graph
from faultsim.harden.quantize import quantize
from faultsim.harden.samples import split
from faultsim.model import load_model
from faultsim.report.hardening import lines
from tests.harden.conftest import DIGITS, Arrays
from tests.harden.test_harden import QUICK


def _run(proto, feeds, level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    # onnxruntime makes MatMulNBits of int4 MatMul, which rounds activations to int8 unless it is told not to
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def _batches(x, name="image", size=64):
    return iter([{name: x[i : i + size]} for i in range(0, len(x), size)])


def _train():
    with np.load(DIGITS / "digits_float_train.npz") as archive:
        return archive["image"][:256]


def _zoo(opset, seed=0):
    """Every kind of weight that is quantized, in one graph: Conv, ConvTranspose, MatMul, Gemm either way round."""
    rng = np.random.default_rng(seed)
    numbers = {
        "conv.w": rng.normal(size=(4, 2, 3, 3)),
        "conv.b": rng.normal(size=4),
        "up.w": rng.normal(size=(4, 3, 2, 2)),
        "mat.w": rng.normal(size=(48, 7)),
        "gemm.w": rng.normal(size=(7, 5)),
        "last.w": rng.normal(size=(3, 5)),
        "last.b": rng.normal(size=3),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.w", "conv.b"], ["a"], "conv"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("ConvTranspose", ["b", "up.w"], ["c"], "up", strides=[2, 2]),
        helper.make_node("Flatten", ["c"], ["d"], "flat"),
        helper.make_node("MatMul", ["d", "mat.w"], ["e"], "mat"),
        helper.make_node("Gemm", ["e", "gemm.w"], ["f"], "gemm"),
        helper.make_node("Gemm", ["f", "last.w", "last.b"], ["y"], "last", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "zoo",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 7
    return model


def test_int8_is_as_accurate_and_calibrated_on_what_it_was_given():
    train = 0.5 * _train()
    made = quantize(load_model(DIGITS / "digits_float.onnx"), "int8", _batches(train), samples=len(train))
    tensors = {t.name: numpy_helper.to_array(t) for t in made.proto.graph.initializer}
    assert tensors["image_scale"] == pytest.approx(train.max() / 255, rel=1e-6)  # int8 over [0, max]
    assert "calibrated on 256 training samples" in made.said
    assert made.floats == ()
    whole = quantize(load_model(DIGITS / "digits_float.onnx"), "int8", _batches(_train()), samples=256).proto
    with np.load(DIGITS / "digits_float.npz") as archive:
        own, truth = archive["image"], archive["labels"]
    plain = (_run(onnx.load(DIGITS / "digits_float.onnx"), {"image": own}).argmax(1) == truth).mean()
    assert (_run(whole, {"image": own}).argmax(1) == truth).mean() >= plain - 0.01
    codes = tensors["conv2.weight_quantized"]
    assert codes.dtype == np.int8
    assert tensors["conv2.weight_scale"].shape == (32,)
    weight = load_model(DIGITS / "digits_float.onnx").numbers["conv2.weight"]
    real = codes * tensors["conv2.weight_scale"][:, None, None, None]
    assert np.all(np.abs(real - weight) <= 0.501 * tensors["conv2.weight_scale"][:, None, None, None])


@pytest.mark.parametrize("opset", [11, 17, 21])
def test_int4_computes_with_codes_times_scales_in_onnxruntime(opset):
    proto = _zoo(opset)
    made = quantize(load_model(proto), "int4", iter(()), samples=0)
    onnx.checker.check_model(made.proto, full_check=True)
    assert next(o.version for o in made.proto.opset_import if o.domain == "") >= 21
    tensors = {t.name: t for t in made.proto.graph.initializer}
    axes = {"conv.w": 0, "up.w": 1, "mat.w": 1, "gemm.w": 1, "last.w": 0}
    real = onnx.ModelProto()
    real.CopyFrom(proto)
    for tensor in real.graph.initializer:
        if tensor.name not in axes:
            assert np.array_equal(numpy_helper.to_array(tensors[tensor.name]), numpy_helper.to_array(tensor))
            continue
        assert tensors[f"{tensor.name}_int4"].data_type == TensorProto.INT4
        codes = numpy_helper.to_array(tensors[f"{tensor.name}_int4"]).astype(np.float32)
        scale = numpy_helper.to_array(tensors[f"{tensor.name}_scale"])
        old = numpy_helper.to_array(tensor)
        shape = [-1 if axis == axes[tensor.name] else 1 for axis in range(old.ndim)]
        assert codes.min() >= -7
        assert codes.max() <= 7
        new = codes * scale.reshape(shape)
        rest = tuple(axis for axis in range(old.ndim) if axis != axes[tensor.name])
        step = np.abs(old).max(rest, keepdims=True) / 7
        naive = np.rint(old / step) * step
        assert np.all(((new - old) ** 2).sum(rest) <= ((naive - old) ** 2).sum(rest) * (1 + 1e-5))
        tensor.CopyFrom(numpy_helper.from_array(new.astype(np.float32), tensor.name))
    x = np.random.default_rng(1).normal(size=(5, 2, 4, 4)).astype(np.float32)
    for level in (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    ):
        assert _run(made.proto, {"x": x}, level) == pytest.approx(_run(real, {"x": x}), rel=1e-4, abs=1e-4)
    own = next(iter(load_model(made.proto).run({"x": x}).values()))
    assert own == pytest.approx(_run(real, {"x": x}), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("opset", [11, 17])
def test_int8_of_every_kind_of_weight_is_near_the_float_graph(opset):
    proto = _zoo(opset)
    x = np.random.default_rng(1).normal(size=(64, 2, 4, 4)).astype(np.float32)
    made = quantize(load_model(proto), "int8", _batches(x, "x"), samples=64).proto
    want, found = _run(proto, {"x": x}), _run(made, {"x": x})
    assert np.abs(found - want).max() < 0.05 * np.abs(want).max()
    assert {t.data_type for t in made.graph.initializer if t.name.endswith("w_quantized")} == {TensorProto.INT8}


def test_weights_that_stay_float_are_told():
    proto = _zoo(17)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "last.w")
    gather = helper.make_node("Gather", ["last.w", "row"], ["g"], "gather")
    proto.graph.initializer.append(numpy_helper.from_array(np.arange(3), "row"))
    proto.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(tensor), "table"))
    gather.input[0] = "table"
    proto.graph.node[6].input[1] = "g"
    proto.graph.node.insert(6, gather)
    made = quantize(load_model(proto), "int4", iter(()), samples=0)
    assert made.floats == tuple(s.name for s in load_model(proto).select(("weight",)) if s.name == "table")
    assert made.floats == ("table",)


def test_a_live_batch_norm_is_folded_into_the_int8_weights():
    proto = _zoo(17)
    rng = np.random.default_rng(3)
    for name, array in {
        "bn.s": rng.normal(size=4),
        "bn.b": rng.normal(size=4),
        "bn.m": rng.normal(size=4),
        "bn.v": rng.uniform(0.5, 2, 4),
    }.items():
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    nodes = list(proto.graph.node)
    bn = helper.make_node("BatchNormalization", ["a", "bn.s", "bn.b", "bn.m", "bn.v"], ["n"], "bn")
    nodes[1].input[0] = "n"
    copies = [nodes[0], bn, *nodes[1:]]
    fresh = [onnx.NodeProto.FromString(node.SerializeToString()) for node in copies]
    proto.graph.ClearField("node")
    proto.graph.node.extend(fresh)
    x = np.random.default_rng(1).normal(size=(64, 2, 4, 4)).astype(np.float32)
    made = quantize(load_model(proto), "int8", _batches(x, "x"), samples=64).proto
    assert "BatchNormalization" not in {node.op_type for node in made.graph.node}
    want = _run(proto, {"x": x})
    assert np.abs(_run(made, {"x": x}) - want).max() < 0.05 * np.abs(want).max()


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_the_same_samples_give_the_same_bytes(kind):
    model = load_model(DIGITS / "digits_float.onnx")
    one, two = (quantize(model, kind, _batches(_train()), samples=256).proto.SerializeToString() for _ in range(2))
    assert one == two


def test_what_is_quantized_already_or_holds_no_weights_is_refused():
    with pytest.raises(OptionError, match=r"digits_int8\.onnx is quantized already \(it holds DequantizeLinear"):
        quantize(load_model(DIGITS / "digits_int8.onnx"), "int8", iter(()), samples=0)
    nodes = [helper.make_node("Add", ["x", "b"], ["y"], "add")]
    graph = helper.make_graph(
        nodes,
        "bare",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.ones(2, np.float32), "b")],
    )
    bare = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul reads a float32 weight"):
        quantize(bare, "int4", iter(()), samples=0)
    with pytest.raises(OptionError, match="quantize is 'int2', it must be 'int8' or 'int4'"):
        Hardening(quantize="int2")


def test_what_onnxruntimes_quantizer_says_is_handed_on(monkeypatch):
    model = load_model(DIGITS / "digits_float.onnx")
    with pytest.raises(ModelError, match=r"digits_float\.onnx: onnxruntime's quantizer cannot make it int8 \("):
        quantize(model, "int8", iter(()), samples=0)  # no sample, no ranges
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(ModelError, match=r"--quantize int8 needs onnxruntime's quantizer .*; install onnxruntime anew"):
        quantize(model, "int8", _batches(_train()), samples=256)


def test_an_opset_that_cannot_be_raised_is_told(monkeypatch):
    def refuse(proto, version):
        raise RuntimeError(f"no adapter to {version}")

    monkeypatch.setattr(onnx.version_converter, "convert_version", refuse)
    with pytest.raises(ModelError, match=r"needs opset 21 or later, the model has 17 and .* \(no adapter to 21\)"):
        quantize(load_model(_zoo(17)), "int4", iter(()), samples=0)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_float_plainly_quantized_and_hardened_are_told_side_by_side(tmp_path, kind):
    options = replace(QUICK, quantize=kind, radii=False, training=Training(steps=40, batch_size=32, lr=3e-3))
    data, out = DIGITS / "digits_float.npz", tmp_path / "out"
    done = harden("digits", "sram", data, target=tmp_path / "h.onnx", out=out, options=options)
    plain = load_model(out / "quantized.onnx")
    numbers = {name: done.exported.model.numbers[name] for name in done.exported.changed}
    assert len(numbers) >= 3
    check_same_graph(plain, done.exported.model.proto, numbers)
    onnx.checker.check_model(onnx.load(done.exported.path), full_check=True)
    codes = [a for n, a in done.exported.model.numbers.items() if plain.site(n).role == "weight"]
    assert all(a.dtype == np.int8 and a.min() >= (-7 if kind == "int4" else -127) for a in codes)
    assert done.result.agreement.max_abs_difference <= done.result.agreement.tolerance

    with np.load(data) as archive:
        image, labels = archive["image"], archive["labels"]
    original = load_model(DIGITS / "digits_float.onnx")
    test = split(Arrays("image", image, labels), original.inputs, seed=0, validation=0.15, test=0.25).test
    floats = assess(original, "sram", test, options=options.assess)
    assert done.floats.clean == floats.clean
    assert done.floats.random.accuracy == floats.random.accuracy
    assert done.result.before.clean == assess(plain, "sram", test, options=options.assess).clean
    text = " ".join(" ".join(lines(done.result)).split())
    assert "Before is the plainly quantized model" in text
    assert f"clean accuracy {floats.clean.accuracy:.1%}" in text
    row = next(row for row in done.result.compared if row.name == "random accuracy, mean")
    assert row.note == f"float original: {floats.random.accuracy.mean:.1%}"


def test_the_float_original_is_no_target_either(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes((DIGITS / "digits_float.onnx").read_bytes())
    with pytest.raises(OptionError, match="that is the original, which is never overwritten"):
        harden(path, "sram", DIGITS / "digits_float.npz", target=path, options=replace(QUICK, quantize="int4"))


def test_without_labels_the_float_models_answers_are_the_truth(tmp_path):
    with np.load(DIGITS / "digits_float.npz") as archive:
        image = archive["image"]
    np.savez(tmp_path / "bare.npz", image=image)
    options = replace(QUICK, quantize="int4", held_out=0.8, radii=False, training=Training(steps=4, batch_size=32))
    out = tmp_path / "out"
    done = harden("digits", "sram", tmp_path / "bare.npz", target=tmp_path / "h.onnx", out=out, options=options)
    original = load_model(DIGITS / "digits_float.onnx")
    test = split(Arrays("image", image, None), original.inputs, seed=0, validation=0.15, test=0.8).test
    rows = test.inputs(0, len(test))
    answers = [_run(onnx.load(path), rows).argmax(1) for path in (original.path, out / "quantized.onnx")]
    agreed = (answers[0] == answers[1]).mean()
    assert agreed < 1
    assert done.floats.clean.accuracy == 1.0
    assert done.result.before.clean.accuracy == pytest.approx(agreed, abs=1e-9)
