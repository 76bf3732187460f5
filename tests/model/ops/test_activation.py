"""Activations and functions of one number against onnxruntime on non-finite and large input; their gradients."""

import ml_dtypes
import numpy as np
import pytest
import torch
from one_node import both

from faultsim.model.ops.registry import find
from faultsim.model.ops.unary import Ceil, Floor, Round, Sign

RNG = np.random.default_rng(4)
EDGE = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1, -1, 88, -88, 104, -104, 0.5, 2.5, -1.5, 1e-30], np.float32)
X = np.concatenate([EDGE, RNG.standard_normal(70).astype(np.float32) * 4])
ACTIVATIONS = [
    "Relu",
    "LeakyRelu",
    "ThresholdedRelu",
    "Shrink",
    "Elu",
    "Celu",
    "Selu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Softplus",
    "Softsign",
    "Gelu",
    "Mish",
]
FUNCTIONS = [
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Erf",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Tanh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Abs",
    "Neg",
    "Sign",
    "Floor",
    "Ceil",
    "Round",
    "IsNaN",
    "IsInf",
]
SMOOTH = [n for n in ACTIVATIONS + FUNCTIONS if n not in ("Sign", "Floor", "Ceil", "Round", "IsNaN", "IsInf")]


@pytest.mark.parametrize("name", ACTIVATIONS + FUNCTIONS)
def test_every_kind_of_float32(name):
    ((ours, theirs),) = both(name, {"x": X}, opset=22)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", ["Relu", "Sigmoid", "Tanh", "Gelu", "Softplus", "HardSigmoid", "Mish", "Erf", "Exp"])
def test_sixteen_bit_floats_round_once(name, dtype):
    x = RNG.standard_normal(200).astype(dtype)
    ours = torch.from_numpy(x.astype(np.float32)).to(torch.float16 if dtype == np.float16 else torch.bfloat16)
    entry = find("", name, 22)
    got = entry.function(ours)
    want = entry.function(ours.float()).to(ours.dtype)
    assert got.dtype == ours.dtype
    torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", SMOOTH)
def test_functions_are_differentiable(name):
    low = 1.1 if name == "Acosh" else 0.1
    x = torch.linspace(low, low + 0.7, 9, dtype=torch.float64, requires_grad=True)
    function = find("", name, 22).function
    assert torch.autograd.gradcheck(function, (x,), rtol=2e-3)
    if name not in ("Acosh", "Log", "Sqrt"):
        assert torch.autograd.gradcheck(function, (-x.detach()).requires_grad_(), rtol=2e-3)


@pytest.mark.parametrize("function", [Round, Floor, Ceil])
def test_rounding_passes_gradients_straight_through(function):
    x = torch.tensor([1.4, -2.6], requires_grad=True)
    function(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_the_gradient_of_a_sign_passes_near_zero_only():
    x = torch.tensor([0.4, -0.9, 3.0, -torch.inf, torch.nan], requires_grad=True)
    signs = Sign(x)
    assert signs[:4].tolist() == [1.0, -1.0, 1.0, -1.0]
    assert bool(signs[4].isnan())
    signs[:4].sum().backward()
    assert x.grad[:4].tolist() == [1.0, 1.0, 0.0, 0.0]
