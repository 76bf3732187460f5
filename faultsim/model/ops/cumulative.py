"""Running sums and products along an axis: CumSum, CumProd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from faultsim.model.ops._widen import in_float32, ints, modular
from faultsim.model.ops.registry import op


def _running(kernel: Callable[..., Any], x: Tensor, axis: Tensor, exclusive: int, reverse: int, start: int) -> Tensor:
    along = ints(axis)[0] % x.ndim
    x = x.flip(along) if reverse else x
    total: Tensor = kernel(x, along, dtype=x.dtype)
    if exclusive and x.shape[along]:
        first = torch.full_like(total.narrow(along, 0, 1), start)
        total = torch.cat([first, total.narrow(along, 0, x.shape[along] - 1)], along)
    return total.flip(along) if reverse else total


@op("CumSum")
@modular
@in_float32
def CumSum(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The sum up to each element along *axis*, or before it if *exclusive* (ONNX CumSum-14)."""
    return _running(torch.cumsum, x, axis, exclusive, reverse, 0)


@op("CumProd")
@modular
@in_float32
def CumProd(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The product up to each element along *axis* (ONNX CumProd-26)."""
    return _running(torch.cumprod, x, axis, exclusive, reverse, 1)
