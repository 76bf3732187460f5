"""Softmax, LogSoftmax, Hardmax: distributions along an axis. Losses built on them live elsewhere."""

from collections.abc import Callable

import torch
from torch import Tensor

from faultsim.model.ops.registry import op


def _as_matrix(function: Callable[[Tensor, int], Tensor], x: Tensor, axis: int) -> Tensor:
    """Apply to the matrix of the axes before *axis* against the rest, as ONNX did before opset 13."""
    axis += x.ndim if axis < 0 else 0
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return function(x.reshape(rows, -1 if rows else 0), 1).reshape(x.shape)


@op("Softmax")
def Softmax_1(x: Tensor, *, axis: int = 1) -> Tensor:
    """e^x over its sum along all axes from *axis* on (ONNX Softmax-11)."""
    return _as_matrix(torch.softmax, x, axis)


@op("Softmax", since=13)
def Softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """e^x over its sum along *axis* (ONNX Softmax-13)."""
    return torch.softmax(x, axis)


@op("LogSoftmax")
def LogSoftmax_1(x: Tensor, *, axis: int = 1) -> Tensor:
    """The logarithm of Softmax-11 (ONNX LogSoftmax-11)."""
    return _as_matrix(torch.log_softmax, x, axis)


@op("LogSoftmax", since=13)
def LogSoftmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """The logarithm of Softmax along *axis* (ONNX LogSoftmax-13)."""
    return torch.log_softmax(x, axis)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    size = x.shape[axis]
    seen = torch.where(torch.isnan(x), -torch.inf, x)
    first = torch.argmax(seen, dim=axis, keepdim=True)
    steps = torch.arange(size, device=x.device).reshape([-1] + [1] * (x.ndim - 1 - axis % x.ndim))
    leads = torch.isnan(x.narrow(axis, 0, 1))
    return ((steps == first) & ~leads).to(x.dtype)


@op("Hardmax")
def Hardmax_1(x: Tensor, *, axis: int = 1) -> Tensor:
    """1 at the first greatest of all axes from *axis* on, 0 elsewhere (ONNX Hardmax-11)."""
    return _as_matrix(_hardmax, x, axis)


@op("Hardmax", since=13)
def Hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """1 at the first greatest along *axis*, 0 elsewhere (ONNX Hardmax-13).

    As in onnxruntime a NaN is passed over, but one that comes first leaves no greatest: zeros.
    """
    return _hardmax(x, axis)
