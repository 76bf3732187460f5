"""Norms and losses against onnxruntime in all their versions and types, and gradients down to running statistics."""

import numpy as np
import pytest
import torch
from one_node import both

from faultsim.model.ops.batchnorm import BatchNormalization
from faultsim.model.ops.losses import SoftmaxCrossEntropyLoss
from faultsim.model.ops.norm import LRN, InstanceNormalization, LpNormalization

RNG = np.random.default_rng(4)
TYPES = [np.float32, np.float64, np.float16]


def floats(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def close(pairs, tolerance=1e-4):
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        tolerance = 1e-2 if theirs.dtype == np.float16 else tolerance
        np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=tolerance, atol=tolerance)


def statistics(c, dtype=np.float32):
    names = ("scale", "bias", "mean")
    return {n: floats(c, dtype=dtype) for n in names} | {"var": np.abs(floats(c, dtype=dtype)) + dtype(0.1)}


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [(), (4,), (4, 5), (2, 3, 4)])
def test_batch_norm(size, dtype, opset):
    close(both("BatchNormalization", {"x": floats(3, 5, *size, dtype=dtype), **statistics(5, dtype)}, opset=opset))


def test_batch_norm_in_training():
    inputs = {"x": floats(3, 5, 4, 4), **statistics(5)}
    outputs = ("y", "mean_out", "var_out")
    close(both("BatchNormalization", inputs, opset=15, outputs=outputs, training_mode=1, momentum=0.7))


def test_batch_norm_of_every_element_before_opset_9():
    x, scale, bias, mean, var = (torch.rand(s) + 0.1 for s in ((2, 3, 4), *[(3, 4)] * 4))
    from one_node import one_node

    from faultsim.model.backend import FaultsimBackend

    inputs = {n: v.numpy() for n, v in zip("xsbmv", (x, scale, bias, mean, var), strict=True)}
    ours = FaultsimBackend.prepare(one_node("BatchNormalization", inputs, opset=7, spatial=0)).run(inputs)[0]
    np.testing.assert_allclose(ours, ((x - mean) / (var + 1e-5).sqrt() * scale + bias).numpy(), rtol=1e-4)


def test_batch_norm_keeps_channels_last():
    x = torch.rand(2, 8, 5, 5).to(memory_format=torch.channels_last)
    y = BatchNormalization(x, *torch.rand(4, 8))
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("outputs", [("y",), ("y", "mean", "inverse")])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_layer_norm(axis, outputs, dtype):
    shape = (3, 4, 5)
    tail = shape[axis:]
    inputs = {"x": floats(*shape, dtype=dtype), "s": floats(*tail, dtype=dtype), "b": floats(*tail, dtype=dtype)}
    close(both("LayerNormalization", inputs, opset=17, axis=axis, outputs=outputs))


def test_layer_norm_broadcasts_its_scale():
    close(both("LayerNormalization", {"x": floats(2, 3, 4), "s": floats(4)}, opset=17, axis=1))


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("size", [(3,), (3, 4), (2, 2, 3)])
def test_group_norm(size, opset):
    c = 3 if opset == 18 else 6
    inputs = {"x": floats(2, 6, *size), "s": floats(c), "b": floats(c)}
    close(both("GroupNormalization", inputs, opset=opset, num_groups=3), 1e-3)


def test_instance_norm_of_one_element_is_its_bias():
    close(both("InstanceNormalization", {"x": floats(2, 3, 1, 1), "s": floats(3), "b": floats(3)}))


@pytest.mark.parametrize("p", [1, 2])
def test_lp_norm_leaves_zeros(p):
    x = floats(3, 4)
    x[1] = 0
    close(both("LpNormalization", {"x": x}, p=p))
    zeros = torch.zeros(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(LpNormalization(zeros, p=p).sum(), zeros)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response(size):
    close(both("LRN", {"x": floats(2, 7, 3, 3)}, size=size, alpha=0.1, beta=0.6, bias=1.2))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, 1, -1])
def test_losses(ignored, weighted, reduction):
    labels = RNG.integers(0, 5, (4, 3))
    extra = {"reduction": reduction}
    if ignored is not None:
        labels[0, 0] = extra["ignore_index"] = ignored
    inputs = {"x": floats(4, 5, 3), "labels": labels} | ({"w": np.abs(floats(5))} if weighted else {})
    close(both("SoftmaxCrossEntropyLoss", inputs, opset=13, outputs=("y", "logs"), **extra))
    close(both("NegativeLogLikelihoodLoss", inputs, opset=13, **extra))


@pytest.mark.parametrize("op", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_skip_norms(op):
    inputs = {"x": floats(2, 3, 8), "skip": floats(2, 3, 8), "gamma": floats(8)}
    inputs |= {"beta": floats(8)} if op == "SkipLayerNormalization" else {}
    inputs["bias"] = floats(8)
    close(both(op, inputs, domain="com.microsoft", outputs=("y", "", "", "sum")))


def test_norms_are_differentiable():
    x, *rest = (torch.rand(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 2, 2), *[(3,)] * 4))
    assert torch.autograd.gradcheck(BatchNormalization, (x, *rest))
    assert torch.autograd.gradcheck(InstanceNormalization, (x, *rest[:2]))
    assert torch.autograd.gradcheck(lambda v: LRN(v, size=3, alpha=0.5), x)
    labels = torch.tensor([[[0, 1], [2, 0]]] * 2)
    assert torch.autograd.gradcheck(lambda v: SoftmaxCrossEntropyLoss(v, labels)[0], x)
