"""Activations: functions of one number that networks put between layers. Softmax lives in `softmax.py`."""

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import in_float32
from faultsim.model.ops.registry import op


@op("Relu", codes="carry")
def Relu(x: Tensor) -> Tensor:
    """Return max(x, 0) (ONNX Relu-14); NaN stays NaN."""
    return torch.relu(x)


@op("LeakyRelu")
def LeakyRelu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """Return x, or alpha·x below zero (ONNX LeakyRelu-16)."""
    return functional.leaky_relu(x, alpha)


@op("PRelu")
def PRelu_1(x: Tensor, slope: Tensor) -> Tensor:
    """Return x, or slope·x below zero; *slope* holds one number, or one a channel (ONNX PRelu-6)."""
    if slope.numel() > 1 and slope.ndim == 1:
        slope = slope.reshape([-1] + [1] * (x.ndim - 2))
    return torch.where(x < 0, slope * x, x)


@op("PRelu", since=7)
def PRelu(x: Tensor, slope: Tensor) -> Tensor:
    """Return x, or slope·x below zero; *slope* broadcasts to *x* (ONNX PRelu-16)."""
    return torch.where(x < 0, slope * x, x)


@op("ThresholdedRelu")
def ThresholdedRelu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Return x above alpha, else 0, for NaN too (ONNX ThresholdedRelu-22)."""
    return torch.where(x > alpha, x, 0)


@op("Shrink")
def Shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Return x pulled to zero by *bias* outside ±lambd, 0 inside (ONNX Shrink-9)."""
    pulled = torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0))
    return pulled.to(x.dtype)


@op("Elu")
@in_float32
def Elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Return x, or alpha (e^x - 1) below zero (ONNX Elu-22)."""
    return functional.elu(x, alpha)


@op("Celu")
@in_float32
def Celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Return max(0, x) + min(0, alpha (e^(x/alpha) - 1)) (ONNX Celu-12)."""
    return functional.celu(x, alpha)


@op("Selu")
@in_float32
def Selu(x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    """Return gamma times Elu of *alpha* (ONNX Selu-22)."""
    return gamma * functional.elu(x, alpha)


@op("Sigmoid")
def Sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x) (ONNX Sigmoid-13)."""
    return torch.sigmoid(x)


@op("HardSigmoid")
@in_float32
def HardSigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """Return alpha·x + beta between 0 and 1 (ONNX HardSigmoid-22)."""
    if beta == 0.5 and abs(alpha - 1 / 6) < 1e-7:
        return functional.hardsigmoid(x)
    return (x * alpha).add_(beta).clamp_(0.0, 1.0)


@op("HardSwish")
@in_float32
def HardSwish(x: Tensor) -> Tensor:
    """Return x · HardSigmoid(x; 1/6, 1/2) (ONNX HardSwish-22)."""
    return x * functional.hardsigmoid(x)  # functional.hardswish overflows from 6e37 on


@op("Softplus")
@in_float32
def Softplus(x: Tensor) -> Tensor:
    """log(1 + e^x) (ONNX Softplus-22)."""
    return torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device))


@op("Softsign")
@in_float32
def Softsign(x: Tensor) -> Tensor:
    """Return x / (1 + |x|) (ONNX Softsign-22)."""
    return functional.softsign(x)


@op("Gelu")
@in_float32
def Gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """Return x times the normal distribution at x, exactly or by *approximate* ``tanh`` (ONNX Gelu-20)."""
    if approximate == "none" and x.device.type == "cpu":
        result = functional.gelu(x)
        if bool(torch.isfinite(result.detach().sum())):
            return result
        # torch's kernel for the CPU makes NaN of infinity; above 16 the result is x to the last bit
        return torch.where(x > 16, x, result)
    return functional.gelu(x, approximate=approximate)


@op("Mish")
@in_float32
def Mish(x: Tensor) -> Tensor:
    """Return x · tanh(Softplus(x)) (ONNX Mish-22)."""
    return functional.mish(x)


@op("Swish")
@in_float32
def Swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Return x · Sigmoid(alpha·x) (ONNX Swish-24)."""
    return functional.silu(x) if alpha == 1.0 else x * torch.sigmoid(x * alpha)
