"""Functions of one number: roots, exponentials, trigonometry, rounding, signs. Activations live apart."""

from typing import Any

import torch
from torch import Tensor

from faultsim.model.ops._widen import signed
from faultsim.model.ops.registry import op
from faultsim.model.ste import ceil_ste, floor_ste, replace_ste, round_ste

_PLAIN: dict[str, Any] = {
    "Exp": torch.exp,
    "Log": torch.log,
    "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal,
    "Erf": torch.erf,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Tan": torch.tan,
    "Asin": torch.asin,
    "Acos": torch.acos,
    "Atan": torch.atan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Tanh": torch.tanh,
    "Asinh": torch.asinh,
    "Acosh": torch.acosh,
    "Atanh": torch.atanh,
}
"""Ops of opset 7 and later that are one torch function of a float tensor."""


def _register(name: str, function: Any) -> None:
    def apply(x: Tensor) -> Tensor:
        result: Tensor = function(x)
        return result

    apply.__name__ = name
    apply.__doc__ = f"{name} of each element (ONNX {name})."
    op(name)(apply)


for _name, _function in _PLAIN.items():
    _register(_name, _function)


@op("Abs")
def Abs(x: Tensor) -> Tensor:
    """Absolute values (ONNX Abs-13); the least integer of its type stays itself."""
    return torch.abs(x) if x.dtype == signed(x).dtype else x


@op("Sign")
def Sign(x: Tensor) -> Tensor:
    """-1, 0, 1, or NaN for NaN (ONNX Sign-13); straight-through in [-1, 1], as [Hubara2016]_ eq. 4.

    References:
        .. [Hubara2016] I. Hubara et al. Binarized neural networks. NeurIPS 2016.
    """
    if not x.is_floating_point():
        return (x != 0).to(x.dtype) if x.dtype != signed(x).dtype else torch.sign(x)
    value = torch.where(torch.isnan(x), x.detach(), torch.sign(x.detach()))
    return replace_ste(x.clamp(-1, 1), value) if x.requires_grad else value


@op("Floor")
def Floor(x: Tensor) -> Tensor:
    """The integer at or below (ONNX Floor-13), straight-through."""
    return floor_ste(x)


@op("Ceil")
def Ceil(x: Tensor) -> Tensor:
    """The integer at or above (ONNX Ceil-13), straight-through."""
    return ceil_ste(x)


@op("Round")
def Round(x: Tensor) -> Tensor:
    """The nearest integer, ties to even (ONNX Round-22), straight-through."""
    return round_ste(x)


@op("IsNaN")
def IsNaN(x: Tensor) -> Tensor:
    """Where *x* is not a number (ONNX IsNaN-20)."""
    return torch.isnan(x)


@op("IsInf")
def IsInf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Where *x* is infinite, of the signs asked for (ONNX IsInf-20)."""
    if detect_negative and detect_positive:
        return torch.isinf(x)
    if detect_positive:
        return torch.isposinf(x)
    return torch.isneginf(x) if detect_negative else torch.zeros_like(x, dtype=torch.bool)
