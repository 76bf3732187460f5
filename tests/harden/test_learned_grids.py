"""Learned steps, functions, tables and token outputs: what training computes with is what is stored and judged."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim.corruption import Stored, apply_edit
from faultsim.engine.scored import scored_output
from faultsim.faults import BitFlip
from faultsim.harden import batchnorm
from faultsim.harden.batch import BatchAt
from faultsim.harden.coding import coding_of
from faultsim.harden.noise import BitSliceL1, RandomBitErrors
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.trainable import Trainable
from faultsim.metrics import TokenClassification
from faultsim.model import load_model
from faultsim.rng import generator
from tests.harden.conftest import Arrays, brevitas_mlp, one_layer


def _model(nodes, tensors, inputs, outputs, functions=(), opset=17):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("own", 1)] if functions else [])
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9)
    onnx.checker.check_model(made)
    return load_model(made)


def test_flips_of_a_learned_grid_are_those_of_the_file_that_is_written():
    model = brevitas_mlp("qonnx")
    trainable = Trainable(model, scales="learn")
    assert trainable.scales
    leaves = trainable.leaves()
    with torch.no_grad():
        for scale in trainable.scales:
            leaves[scale.theta].fill_(np.log(0.5))
    written = load_model(model.with_numbers(trainable.numbers(leaves)))
    weights = [name for name, p in trainable.parameters.items() if p.quantized is not None and p.site.role == "weight"]
    sites = trainable.sites(leaves, weights)
    for name in weights:
        mine, theirs = sites[name].quantizer, written.site(name).quantizer
        assert np.allclose(mine.scale, theirs.scale, rtol=1e-6)
        assert not np.allclose(mine.scale, trainable.parameters[name].site.quantizer.scale)

    def nothing(outputs):
        return outputs[model.output_names[0]].sum() * 0

    x = np.zeros((2, *[d if isinstance(d, int) else 1 for d in model.inputs[0].shape[1:]]), np.float32)
    at = BatchAt(trainable, leaves, {model.inputs[0].name: x}, nothing, names=tuple(weights), seed=0, step=0)
    for name, one in RandomBitErrors(ber=0.2)._stored(at).items():
        stored = Stored(written.site(name), written.site(name).quantizer, one.values)
        rng = [generator(0, 0, "flips") for _ in range(2)]
        mine, theirs = (apply_edit(BitFlip(ber=0.2).sample(s, r), s) for s, r in zip((one, stored), rng, strict=True))
        assert np.allclose(mine, theirs, rtol=1e-6)
        step = float(np.max(written.site(name).quantizer.scale))
        gap = at.difference({name: theirs})[name].numpy()
        assert np.abs(gap).max() <= 255 * step * (1 + 1e-6)


@pytest.mark.parametrize("of_codes", [False, True])
@pytest.mark.parametrize("kind", ["qdq", "qonnx"])
def test_a_learned_step_moves_corrupted_codes_and_no_corruption_of_a_ball(kind, of_codes):
    rng = np.random.default_rng(5)
    codes, scale = rng.integers(-100, 100, (6, 5)).astype(np.int8), np.linspace(0.005, 0.009, 5, dtype=np.float32)
    x, gap = rng.normal(size=(16, 6)).astype(np.float32), rng.integers(-20, 21, (6, 5)).astype(np.float32)
    trainable = Trainable(one_layer(kind, codes, scale), scales="learn")
    leaves = trainable.leaves()
    (key,) = (name for name in leaves if name.startswith("log scale of "))
    with torch.no_grad():
        leaves[key].copy_(torch.linspace(-0.01, 0.01, 5))
    at = BatchAt(trainable, leaves, {"x": x}, lambda out: out["y"].sum(), names=("w",), seed=0, step=0)
    found = at.at({"w": torch.from_numpy(gap * scale)}, of_codes=of_codes)

    theta = leaves[key].detach().clone().requires_grad_(True)  # by hand: w(theta) rounded straight-through
    step = torch.from_numpy(scale) * torch.exp(theta)
    latent = torch.from_numpy(codes * scale)
    scaled = latent / step
    stored = (scaled + (torch.round(scaled) - scaled).detach()) * step
    moved = torch.from_numpy(gap * scale)
    if of_codes:
        moved = moved / step.detach() * step
    value = torch.tanh(torch.from_numpy(x) @ (stored + moved)).sum()
    value.backward()
    assert found.loss == pytest.approx(value.item(), rel=1e-5)
    assert found.grads[key].numpy() == pytest.approx(theta.grad.numpy(), rel=1e-3, abs=1e-4)
    assert not of_codes or np.abs(theta.grad.numpy()).max() > 0.1


def test_statistics_inside_a_function_are_not_trained():
    body = helper.make_function(
        "own",
        "Block",
        ["x", "scale", "shift", "mean", "var"],
        ["y"],
        [helper.make_node("BatchNormalization", ["x", "scale", "shift", "mean", "var"], ["y"], "bn")],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Block", ["c", "scale", "shift", "mean", "var"], ["y"], "block", domain="own"),
    ]
    rng = np.random.default_rng(0)
    tensors = {
        "w": rng.normal(size=(3, 2, 1, 1)).astype(np.float32),
        "scale": np.ones(3, np.float32),
        "shift": np.zeros(3, np.float32),
        "mean": np.zeros(3, np.float32),
        "var": np.ones(3, np.float32),
    }
    model = _model(
        nodes, tensors, [("x", TensorProto.FLOAT, ["n", 2, 4, 4])], [("y", ["n", 3, 4, 4])], functions=[body]
    )
    assert batchnorm.live(model)
    assert set(Trainable(model).frozen) == {"mean", "var"}
    x = rng.normal(size=(32, 2, 4, 4)).astype(np.float32) + 2
    found = batchnorm.recalibrated(model, {}, [{"x": x[:16]}, {"x": x[16:]}])
    y = model.run({"x": x}, found)["y"]
    assert y.mean((0, 2, 3)) == pytest.approx(0, abs=0.02)
    assert y.std((0, 2, 3)) == pytest.approx(1, abs=0.03)


def _norm_of_rows(shared=False, batch=1):
    nodes = [helper.make_node("BatchNormalization", ["x", "one", "zero", "mean", "var"], ["a"], "first")]
    if shared:
        nodes.append(helper.make_node("Mul", ["a", "three"], ["b"], "times"))
        nodes.append(helper.make_node("BatchNormalization", ["b", "one", "zero", "mean", "var"], ["y"], "second"))
    else:
        nodes.append(helper.make_node("MatMul", ["a", "w"], ["y"], "fc"))
    tensors = {
        "one": np.ones(3, np.float32),
        "zero": np.zeros(3, np.float32),
        "mean": np.zeros(3, np.float32),
        "var": np.ones(3, np.float32),
        **({"three": np.float32([3.0])} if shared else {"w": np.eye(3, dtype=np.float32)}),
    }
    return _model(nodes, tensors, [("x", TensorProto.FLOAT, [batch, 3])], [("y", [batch, 3])])


def test_batches_of_one_sample_are_taken_together():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 3)).astype(np.float32)
    found = batchnorm.recalibrated(_norm_of_rows(), {}, [{"x": x[i : i + 1]} for i in range(400)])
    assert found["mean"] == pytest.approx(x.mean(0), rel=1e-4)
    assert found["var"] == pytest.approx(x.var(0, ddof=1), rel=1e-3)


def test_norms_that_share_their_statistics_get_the_average_of_both():
    x = np.random.default_rng(0).normal(1.0, 2.0, size=(64, 3)).astype(np.float32)
    found = batchnorm.recalibrated(_norm_of_rows(shared=True, batch="n"), {}, [{"x": x}])
    first = x.var(0, ddof=1)
    second = 9 * 64 / 63 * np.ones(3) * x.var(0) / (x.var(0) + 1e-5)
    assert found["var"] == pytest.approx((first + second) / 2, rel=1e-3)
    assert found["mean"] == pytest.approx(x.mean(0) / 2, abs=1e-4)


def test_codes_that_are_looked_up_first_keep_their_zero_point():
    table = np.random.default_rng(0).integers(100, 156, size=(12, 4)).astype(np.uint8)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["codes"], "look"),
        helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["real"], "dq"),
        helper.make_node("ReduceMean", ["real"], ["y"], "mean", axes=[1], keepdims=0),
    ]
    tensors = {"table": table, "step": np.float32(0.01), "zero": np.uint8(128)}
    model = _model(nodes, tensors, [("ids", TensorProto.INT64, ["n", 5])], [("y", ["n", 4])])
    coding = coding_of(model, model.site("table"))
    assert coding is not None
    assert int(coding.zero) == 128
    trainable = Trainable(model)
    real = (table.astype(np.float64) - 128) * 0.01
    assert trainable.weights(trainable.leaves())["table"].numpy() == pytest.approx(real, abs=1e-6)


def test_tokens_are_distilled_by_their_classes_where_they_are_scored():
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "fc")]
    model = _model(
        nodes,
        {"w": rng.normal(size=(4, 3)).astype(np.float32)},
        [("x", TensorProto.FLOAT, ["n", 5, 4])],
        [("y", ["n", 5, 3])],
    )
    x = rng.normal(size=(6, 5, 4)).astype(np.float32)
    y = rng.integers(0, 3, size=(6, 5))
    y[:, 3:] = -100
    data = Samples(Arrays("x", x, y), np.arange(6), model.inputs)
    target = Target(model, TokenClassification(), scored_output(model), data, towards="clean", batch_size=4)
    _, loss = target.batch(np.array([1, 4]))
    given = torch.from_numpy(rng.normal(size=(2, 5, 3)).astype(np.float32))
    teacher = torch.softmax(torch.from_numpy(model.run({"x": x[[1, 4]]})["y"]), -1)[:, :3]
    wanted = -(teacher * torch.log_softmax(given, -1)[:, :3]).sum(-1).mean()
    assert float(loss({"y": given})) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("step", [0.5, -0.5])
def test_bit_slices_reach_the_upper_bits_of_wide_codes(step):
    codes = np.array([[256, 1024, 3, 0]], np.int16).T
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "step"], ["real"], "dq"),
        helper.make_node("MatMul", ["x", "real"], ["y"], "fc"),
    ]
    model = _model(
        nodes,
        {"w": codes, "step": np.float32(step)},
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("y", ["n", 1])],
        opset=21,
    )
    trainable = Trainable(model)
    leaves = trainable.leaves()
    at = BatchAt(
        trainable, leaves, {"x": np.zeros((1, 4), np.float32)}, lambda out: out["y"].sum(), names=("w",), seed=0, step=0
    )
    share = BitSliceL1(weight=1.0, slice_bits=2).share(at)
    assert share.loss == (1 + 1 + 3) / 4  # 256, 1024 and 3 in digits of base 4
    pull = step * share.grads["w"].reshape(-1)  # by the code: downwards, whatever sign its step has
    assert pull[0] > 0
    assert pull[1] > 0
    assert pull[3] == 0
