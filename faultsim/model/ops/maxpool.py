"""Pools that select: MaxPool, MaxUnpool, GlobalMaxPool. Pools that average live in `meanpool.py`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import ints
from faultsim.model.ops._window import Window, pad_spatial, window
from faultsim.model.ops.registry import Context, op

_POOL: dict[int, Callable[..., Any]] = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


@op("MaxPool", codes="carry")
def MaxPool(
    x: Tensor,
    *,
    ctx: Context,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The greatest number of every window, and where it is, flat in the input (ONNX MaxPool-22).

    NaN loses against every number, as it mostly does in onnxruntime; a window of nothing but NaN gives NaN.
    """
    if not x.is_floating_point():
        wide = x.to(torch.float32 if x.element_size() < 4 else torch.float64)
        result = MaxPool(
            wide,
            ctx=ctx,
            auto_pad=auto_pad,
            ceil_mode=ceil_mode,
            dilations=dilations,
            kernel_shape=kernel_shape,
            pads=pads,
            storage_order=storage_order,
            strides=strides,
        )
        return (result[0].to(x.dtype), result[1]) if isinstance(result, tuple) else result.to(x.dtype)
    at = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode=ceil_mode)
    if len(ctx.outputs) > 1 and ctx.outputs[1]:
        y, inside = _pool(_without_nan(x), at, indices=True)
        return _nan_where_lowest(y), _flat(inside, x, at, storage_order)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return _nan_where_lowest(_pool(_without_nan(x), at))
    y = _pool(x, at)
    # torch hands NaN on: only then is the careful way needed
    return y if y.detach().sum().isfinite() else _nan_where_lowest(_pool(_without_nan(x), at))


def _lowest(x: Tensor) -> float:
    return torch.finfo(x.dtype).min


def _without_nan(x: Tensor) -> Tensor:
    return torch.nan_to_num(x, nan=_lowest(x), posinf=float("inf"), neginf=float("-inf"))


def _nan_where_lowest(y: Tensor) -> Tensor:
    return torch.where(y == _lowest(y), float("nan"), y)


def _pool(x: Tensor, at: Window, *, indices: bool = False) -> Any:
    rank = x.ndim - 2
    reach = at.reach(x.shape[2:])
    # torch pads both sides alike, at most by half a window; what the last window does not reach is not read
    direct = all(
        0 <= b <= k // 2 and (b >= r > b - s) for b, r, s, k in zip(at.begin, reach, at.strides, at.kernel, strict=True)
    )
    padding: Sequence[int] = at.begin
    if not direct:
        x, padding = pad_spatial(x, at.begin, reach, float("-inf")), [0] * rank
    pool = _POOL[rank]
    if indices:
        return pool(x, at.kernel, at.strides, padding, at.dilations, return_indices=True)
    if rank == 2 and x.device.type == "cpu" and x.is_contiguous() and x.shape[1] > 3:
        # torch's channels_last kernel is vectorized, the other is not: there and back is 2 to 5 times faster
        y: Tensor = pool(x.contiguous(memory_format=torch.channels_last), at.kernel, at.strides, padding, at.dilations)
        return y.contiguous()
    return pool(x, at.kernel, at.strides, padding, at.dilations)


def _flat(inside: Tensor, x: Tensor, at: Window, storage_order: int) -> Tensor:
    """Positions in the whole of *x* from torch's positions within one (padded) plane."""
    size = list(x.shape[2:])
    rank = len(size)
    reach = at.reach(size)
    direct = all(
        0 <= b <= k // 2 and (b >= r > b - s) for b, r, s, k in zip(at.begin, reach, at.strides, at.kernel, strict=True)
    )
    if not direct or storage_order:
        padded = size if direct else [n + b + r for n, b, r in zip(size, at.begin, reach, strict=True)]
        offset = [0] * rank if direct else at.begin
        place, rest = torch.zeros_like(inside), inside
        steps = [1] * rank
        order = range(rank - 2, -1, -1) if not storage_order else range(1, rank)
        last = rank - 1 if not storage_order else 0
        for axis in order:
            steps[axis] = steps[last] * size[last]
            last = axis
        for axis in range(rank - 1, -1, -1):
            place = place + (rest % padded[axis] - offset[axis]) * steps[axis]
            rest = torch.div(rest, padded[axis], rounding_mode="floor")
        inside = place
    plane = x[0, 0].numel()
    start = torch.arange(x.shape[0] * x.shape[1], device=x.device) * plane
    return inside + start.reshape(x.shape[0], x.shape[1], *[1] * rank)


@op("GlobalMaxPool", codes="carry")
def GlobalMaxPool(x: Tensor) -> Tensor:
    """The greatest number of every channel (ONNX GlobalMaxPool-22); NaN as in MaxPool."""
    axes = tuple(range(2, x.ndim))
    if not x.is_floating_point():
        return x.amax(dim=axes, keepdim=True)
    return _nan_where_lowest(_without_nan(x).amax(dim=axes, keepdim=True))


@op("MaxUnpool", codes="carry")
def MaxUnpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Tensor | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with the elements of *x* back where MaxPool took them (ONNX MaxUnpool-22).

    The indices count in the unpooled size that follows from the attributes; a greater *output_shape* pads behind it.
    """
    rank = x.ndim - 2
    steps = strides or [1] * rank
    around = pads or [0] * (2 * rank)
    size = [(x.shape[2 + i] - 1) * steps[i] + kernel_shape[i] - around[i] - around[rank + i] for i in range(rank)]
    count = x.shape[0] * x.shape[1]
    for n in size:
        count *= n
    flat = torch.zeros(count, dtype=x.dtype, device=x.device)
    y = flat.scatter(0, indices.reshape(-1), x.reshape(-1)).reshape(*x.shape[:2], *size)
    if output_shape is None:
        return y
    return pad_spatial(y, [0] * rank, [o - n for o, n in zip(ints(output_shape)[2:], size, strict=True)])
