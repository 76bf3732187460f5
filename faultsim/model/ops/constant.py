"""Tensors from nothing but numbers: Constant, ConstantOfShape, Range, EyeLike, OneHot. Nothing random."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.model.ops._widen import SIGNED_VIEW, ints, narrowed, widened
from faultsim.model.ops.registry import Context, op
from faultsim.model.values import TORCH_DTYPES, Codes, Value


def _placed(value: Value, device: torch.device) -> Value:
    if isinstance(value, Codes):
        return Codes(value.values.to(device), value.elem_type)
    return value.to(device) if isinstance(value, Tensor) else value


@op("Constant", codes="aware")
def Constant(
    *,
    value: Value = None,
    sparse_value: Value = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
    value_string: str | bytes | None = None,
    value_strings: list[str] | None = None,
    ctx: Context,
) -> Value:
    """The constant that the one given attribute holds (ONNX Constant-26)."""
    if value is not None or sparse_value is not None:
        return _placed(value if value is not None else sparse_value, ctx.device)
    if value_string is not None or value_strings is not None:
        return np.array(value_string if value_string is not None else value_strings, dtype=object)
    if value_float is not None or value_floats is not None:
        numbers: Any = value_float if value_float is not None else value_floats
        return torch.tensor(numbers, dtype=torch.float32, device=ctx.device)
    return torch.tensor(value_int if value_int is not None else value_ints, dtype=torch.int64, device=ctx.device)


@op("ConstantOfShape", codes="concrete")
def ConstantOfShape(shape: Tensor, *, value: Value = None, ctx: Context) -> Value:
    """A tensor of *shape* full of the one number in *value*, float 0 by default (ONNX ConstantOfShape-26)."""
    size = ints(shape)
    if value is None:
        return torch.zeros(size, dtype=torch.float32, device=ctx.device)
    if isinstance(value, Codes):
        return Codes(value.values.to(ctx.device).reshape(()).expand(size).clone(), value.elem_type)
    if isinstance(value, np.ndarray):
        return np.full(size, value.reshape(-1)[0], dtype=object)
    if not isinstance(value, Tensor):
        raise TypeError(f"the value of ConstantOfShape must be a tensor, got {type(value).__name__}")
    return value.to(ctx.device).reshape(()).expand(size).clone()


@op("Range")
def Range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Numbers from *start* to before *limit* in steps of *delta* (ONNX Range-11)."""
    if start.is_floating_point():
        first, last, step = (float(t.detach()) for t in (start, limit, delta))
        count = max(int(np.ceil((last - first) / step)), 0)
        steps = torch.arange(count, device=start.device, dtype=torch.float64)
        return (start.double() + steps * delta.double()).to(start.dtype)
    return torch.arange(int(start), int(limit), int(delta), device=start.device).to(start.dtype)


@op("EyeLike")
def EyeLike(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    """Ones on the *k*-th diagonal of zeros shaped as *x* (ONNX EyeLike-22)."""
    rows, columns = x.shape
    wanted = x.dtype if dtype is None else TORCH_DTYPES[dtype]
    i = torch.arange(rows, device=x.device)[:, None]
    j = torch.arange(columns, device=x.device)[None, :]
    return (j - i == k).to(wanted)


@op("OneHot")
def OneHot(indices: Tensor, depth: Tensor, values: Tensor | NDArray[Any], *, axis: int = -1) -> Tensor | NDArray[Any]:
    """``values[1]`` at each index along a new *axis* of size *depth*, else ``values[0]`` (ONNX OneHot-11).

    An index outside [-depth, depth) marks nothing.
    """
    size = int(depth.reshape(()).item())
    axis += indices.ndim + 1 if axis < 0 else 0
    where = widened(indices)
    where = where if where.is_floating_point() else where.to(torch.int64)
    where = torch.where(where < 0, where + size, where).unsqueeze(axis)
    steps = torch.arange(size, device=indices.device).reshape([-1] + [1] * (indices.ndim - axis))
    hit = where == steps
    if isinstance(values, np.ndarray):
        chosen: NDArray[Any] = values.reshape(-1)[hit.cpu().numpy().astype(np.int64)]
        return chosen
    if values.dtype in SIGNED_VIEW:
        wide = widened(values)
        return narrowed(torch.where(hit, wide[1], wide[0]), values.dtype)
    return torch.where(hit, values[1], values[0])
