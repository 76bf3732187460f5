"""Pools that average: AveragePool, LpPool and the global ones. Pools that select live in `maxpool.py`."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import in_float32
from faultsim.model.ops._window import Window, pad_spatial, window
from faultsim.model.ops.registry import op


@op("AveragePool")
@in_float32
def AveragePool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The mean of every window (ONNX AveragePool-22).

    What a last window of ``ceil_mode`` covers beyond the declared padding never counts.
    """
    at = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode=ceil_mode)
    size = x.shape[2:]
    whole = count_include_pad or not any(at.begin)
    fits = all(r <= (e if count_include_pad else 0) for r, e in zip(at.reach(size), at.end, strict=True))
    if whole and fits and set(at.dilations) == {1}:
        return _mean(x, at)
    if x.ndim <= 4 and at.begin == at.end and _torch_pads(x, at):
        inner = functional.avg_pool1d if x.ndim == 3 else functional.avg_pool2d
        return inner(x, at.kernel, at.strides, at.begin, False, bool(count_include_pad))
    total = _window_sum(x, at)
    for axis, n in enumerate(size):
        counted = _counts(n, at, axis, count_include_pad)
        shape = [1] * x.ndim
        shape[2 + axis] = -1
        total = total / torch.tensor(counted, dtype=x.dtype, device=x.device).reshape(shape)
    return total


def _torch_pads(x: Tensor, at: Window) -> bool:
    limits = zip(at.begin, at.end, at.reach(x.shape[2:]), at.kernel, at.dilations, strict=True)
    return all(0 <= b <= k // 2 and r <= e and d == 1 for b, e, r, k, d in limits)


def _mean(x: Tensor, at: Window) -> Tensor:
    """Means where every window divides by its whole size."""
    size = x.shape[2:]
    if not any(at.begin) and not any(at.end) and at.kernel == list(size):
        return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
    padding: list[int] = at.begin
    if at.begin != at.end or any(2 * b > k or b < 0 for b, k in zip(at.begin, at.kernel, strict=True)):
        x, padding = pad_spatial(x, at.begin, at.end), [0] * len(size)
    inner = {3: functional.avg_pool1d, 4: functional.avg_pool2d, 5: functional.avg_pool3d}[x.ndim]
    return inner(x, at.kernel, at.strides, padding)


def _window_sum(x: Tensor, at: Window) -> Tensor:
    """Sums of every window, zeros around the data; one axis after the other."""
    y = pad_spatial(x, at.begin, at.reach(x.shape[2:]))
    for axis in range(len(at.kernel)):
        k, s, d, out = at.kernel[axis], at.strides[axis], at.dilations[axis], at.out[axis]
        parts = [
            y.narrow(2 + axis, i * d, (out - 1) * s + 1)[(slice(None),) * (2 + axis) + (slice(None, None, s),)]
            for i in range(k)
        ]
        y = parts[0]
        for part in parts[1:]:
            y = y + part
    return y


def _counts(n: int, at: Window, axis: int, count_include_pad: int) -> list[int]:
    low, high = (-at.begin[axis], n + at.end[axis]) if count_include_pad else (0, n)
    counts = []
    for o in range(at.out[axis]):
        start = o * at.strides[axis] - at.begin[axis]
        places = range(start, start + at.kernel[axis] * at.dilations[axis], at.dilations[axis])
        counts.append(sum(low <= place < high for place in places))
    return counts


@op("LpPool")
@in_float32
def LpPool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The p-norm of every window (ONNX LpPool-22)."""
    at = window(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode=ceil_mode)
    return root(_window_sum(x.abs() if p == 1 else x.abs().pow(p), at), p)


def root(total: Tensor, p: float) -> Tensor:
    """The p-th root, with gradient 0 instead of NaN where *total* is 0."""
    if p == 1:
        return total
    nothing = total == 0
    return torch.where(nothing, total, torch.where(nothing, 1.0, total).pow(1.0 / p))


@op("GlobalAveragePool")
@in_float32
def GlobalAveragePool(x: Tensor) -> Tensor:
    """The mean of every channel (ONNX GlobalAveragePool-22)."""
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


@op("GlobalLpPool")
@in_float32
def GlobalLpPool(x: Tensor, *, p: int = 2) -> Tensor:
    """The p-norm of every channel (ONNX GlobalLpPool-22)."""
    return root(x.abs().pow(p).sum(dim=tuple(range(2, x.ndim)), keepdim=True), p)
