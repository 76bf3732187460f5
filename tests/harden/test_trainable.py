"""Leaves stand for the deployed numbers: same bytes back, same outputs, the model's own gradients, codes in range."""

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim.harden.trainable import Trainable
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, brevitas_mlp, smooth_mlp


def _half() -> onnx.ModelProto:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "one")]
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(rng.normal(size=(4, 3)).astype(np.float16), "w"),
        numpy_helper.from_array(rng.normal(size=3).astype(np.float16), "b"),
    ]
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def _dead() -> onnx.ModelProto:
    """`_blocks`, with a scale of 0 for some."""
    proto = _blocks()
    (scales,) = (one for one in proto.graph.initializer if one.name == "s")
    array = numpy_helper.to_array(scales).copy()
    array[0, 1] = 0
    scales.CopyFrom(numpy_helper.from_array(array, "s"))
    return proto


def _blocks() -> onnx.ModelProto:
    """Int4 weights with a scale and a zero point for every two rows of each column."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], "dq", axis=0, block_size=2),
        helper.make_node("Gemm", ["x", "d"], ["y"], "one"),
    ]
    tensors = [
        numpy_helper.from_array(rng.integers(-7, 8, size=(4, 3)).astype(ml_dtypes.int4), "w"),
        numpy_helper.from_array(rng.uniform(0.05, 0.1, size=(2, 3)).astype(np.float32), "s"),
        numpy_helper.from_array(rng.integers(-2, 3, size=(2, 3)).astype(ml_dtypes.int4), "z"),
    ]
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


MODELS = {
    "float": lambda: load_model(DIGITS / "digits_float.onnx"),
    "int8": lambda: load_model(DIGITS / "digits_int8.onnx"),
    "double": lambda: load_model(smooth_mlp()),
    "half": lambda: load_model(_half()),
    "blocks": lambda: load_model(_blocks()),
    "dead": lambda: load_model(_dead()),
    "qcdq": lambda: brevitas_mlp("qcdq"),
    "qonnx": lambda: brevitas_mlp("qonnx"),
}


def _feeds(model, samples=8):
    rng = np.random.default_rng(5)
    (spec,) = model.inputs
    shape = [samples if i == spec.batch_axis or not isinstance(s, int) else s for i, s in enumerate(spec.shape)]
    return {spec.name: rng.normal(size=shape).astype(spec.dtype)}


def _fixed(model, samples=8):
    fixed = next((spec.fixed_batch for spec in model.inputs if spec.fixed_batch), None)
    return _feeds(model, fixed or samples)


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.mark.parametrize("scales", ["keep", "learn"])
def test_fresh_leaves_give_the_same_bytes_and_outputs(model, scales):
    trainable = Trainable(model, scales=scales)
    leaves = trainable.leaves()
    assert model.with_numbers(trainable.numbers(leaves)).SerializeToString() == model.proto.SerializeToString()
    feeds = _fixed(model)
    with torch.no_grad():
        ours = trainable.run(feeds, leaves)
    for name, value in model.run(feeds).items():
        np.testing.assert_allclose(ours[name].numpy(), np.asarray(value, dtype=np.float64), rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_the_model_per_real_unit(model):
    trainable = Trainable(model)
    leaves = trainable.leaves()
    feeds = _fixed(model)

    def loss(outputs):
        return sum(value.double().square().mean() for value in outputs.values())

    found = torch.autograd.grad(loss(trainable.run(feeds, leaves)), list(leaves.values()), allow_unused=True)
    _, theirs = model.gradient(feeds, loss, sites=list(trainable.parameters))
    for (name, leaf), grad in zip(leaves.items(), found, strict=True):
        site = model.site(name)
        step = 1.0 if site.scale is None else np.where(site.scale == 0, 1.0, site.scale)
        expected = theirs[name] / step
        got = np.zeros(leaf.shape) if grad is None else grad.numpy()
        # the lowest and highest code pass the model no gradient where its own Clip saturates
        assert np.allclose(got, expected, rtol=2e-3, atol=2e-3 * max(np.abs(expected).max(), 1e-6))


def test_deltas_are_added_behind_the_codes(int8, digits):
    trainable = Trainable(int8)
    leaves = trainable.leaves()
    feeds = {"image": digits[0][:8]}
    site = next(site for site in int8.sites if site.role == "weight")
    delta = 0.3 * np.random.default_rng(0).normal(size=site.shape) * site.scale  # a third of a code: lost if rounded
    with torch.no_grad():
        ours = trainable.run(feeds, leaves, {site.name: torch.from_numpy(delta).float()})["logits"].numpy()
    stored = int8.numbers[site.name] + delta / site.scale
    theirs = int8.run(feeds, {site.name: stored})["logits"]
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert not np.allclose(ours, int8.run(feeds)["logits"])


def test_deltas_of_a_qonnx_weight_are_added_behind_its_quantizer():
    model = brevitas_mlp("qonnx")
    trainable = Trainable(model)
    quantized = [name for name, p in trainable.parameters.items() if p.quantized is not None]
    assert len(quantized) == 2
    feeds = _fixed(model)
    leaves = trainable.leaves()
    name = quantized[0]
    scale = np.asarray(model.site(name).quantizer.scale)
    tiny = {name: torch.from_numpy(np.broadcast_to(0.2 * scale, model.site(name).shape).copy()).float()}
    with torch.no_grad():
        clean, moved = trainable.run(feeds, leaves), trainable.run(feeds, leaves, tiny)
    first = next(iter(clean))
    assert not torch.equal(clean[first], moved[first])


@pytest.mark.parametrize("name", ["int8", "qcdq"])
@pytest.mark.parametrize("scales", ["keep", "learn"])
def test_codes_stay_in_range_wherever_the_leaves_go(name, scales):
    model = MODELS[name]()
    trainable = Trainable(model, scales=scales)
    leaves = trainable.leaves()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for leaf in leaves.values():
            leaf += 3 * torch.randn(leaf.shape, generator=rng, dtype=leaf.dtype)
    numbers = trainable.numbers(leaves)
    for key, p in trainable.parameters.items():
        if p.coding is None:
            continue
        bits = model.site(key).format.bits
        assert numbers[key].dtype == model.numbers[key].dtype
        if bits <= 8:
            assert np.abs(numbers[key].astype(int)).max() <= 2 ** (bits - 1) - 1
            assert np.abs(numbers[key].astype(int)).max() == 2 ** (bits - 1) - 1
    back = load_model(model.with_numbers(numbers))
    assert all(np.array_equal(back.numbers[key], numbers[key]) for key in trainable.parameters)


def test_learned_scales_move_the_scale_and_the_bias_of_the_layer_with_it(int8, digits):
    trainable = Trainable(int8, scales="learn")
    assert trainable.scales
    leaves = trainable.leaves()
    with torch.no_grad():
        for scale in trainable.scales:
            leaves[scale.theta].fill_(np.log(2.0))
    numbers = trainable.numbers(leaves)
    for site in int8.sites:
        if site.role != "bias" or site.scale is None:
            continue
        coding = trainable.parameters[site.name].coding
        learned = next(s for s in trainable.scales if s.key == coding.scale_key)
        assert numbers[learned.key] == pytest.approx(2 * learned.base, rel=1e-6)
        # a step twice as wide holds the same bias in half the codes
        assert numbers[site.name] == pytest.approx(int8.numbers[site.name] / 2, abs=0.51)
    feeds = {"image": digits[0][:64]}
    renewed = load_model(int8.with_numbers(numbers))
    with torch.no_grad():
        ours = trainable.run(feeds, leaves)["logits"].numpy()
    assert renewed.run(feeds)["logits"] == pytest.approx(ours, abs=1e-4)
    assert (ours.argmax(1) == int8.run(feeds)["logits"].argmax(1)).mean() > 0.9


def test_a_learned_scale_has_the_gradient_of_lsq():
    # Esser et al., eq. 3: d(s round(w/s))/ds = round(w/s) - w/s inside the range, the bound outside
    model = brevitas_mlp("qcdq")
    trainable = Trainable(model, scales="learn")
    name, p = next((n, p) for n, p in trainable.parameters.items() if p.theta is not None)
    leaves = trainable.leaves()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        leaves[name] += 0.2 * torch.randn(leaves[name].shape, generator=rng)
    step = trainable.step(name, leaves)
    value = trainable._value(p, leaves, None, of_codes=False).values * torch.from_numpy(p.coding.step).float()
    real = value * torch.exp(leaves[p.theta]).reshape(step.shape)
    (found,) = torch.autograd.grad(real.sum(), [leaves[p.theta]])
    ratio = (leaves[name] / step).detach()
    inside = (ratio.round() >= p.coding.low) & (ratio.round() <= p.coding.high)
    slope = torch.where(inside, ratio.round() - ratio, ratio.round().clamp(p.coding.low, p.coding.high))
    expected = (slope * step).reshape(step.numel(), -1).sum(1)  # per channel; d/d log s = s · d/ds
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_double_backprop_goes_through_a_quantized_graph(int8, digits):
    trainable = Trainable(int8)
    leaves = trainable.leaves()
    outputs = trainable.run({"image": digits[0][:16]}, leaves)
    loss = torch.nn.functional.cross_entropy(outputs["logits"], torch.from_numpy(digits[1][:16]))
    grads = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in grads), list(leaves.values()), allow_unused=True)
    assert any(g is not None and bool(torch.isfinite(g).all()) and bool(g.any()) for g in second)
