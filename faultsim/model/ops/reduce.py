"""Reductions of axes to one number: ReduceSum, ReduceMax, … Those that give positions live in `select.py`."""

from collections.abc import Callable

import torch
from torch import Tensor

from faultsim.model.ops._widen import HALVES, ints, narrowed, ordered, reordered, widened
from faultsim.model.ops.registry import CodesPolicy, op

Kernel = Callable[[Tensor, list[int], bool], Tensor]


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return narrowed(torch.sum(widened(x), axes, keepdim=keep), x.dtype)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, axes, keepdim=keep)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    total = torch.sum(widened(x), axes, keepdim=keep)
    return narrowed(torch.div(total, count, rounding_mode="trunc"), x.dtype)


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    wide = widened(x)
    for axis in sorted((a % max(x.ndim, 1) for a in axes), reverse=True):
        wide = torch.prod(wide, axis, keepdim=keep)
    return narrowed(wide, x.dtype)


def _l1(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return _sum(torch.abs(x), axes, keep)


def _l2(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        wide = x.float() if x.dtype in HALVES else x
        norm: Tensor = torch.linalg.vector_norm(wide, dim=axes, keepdim=keep)
        return norm.to(x.dtype)
    wide = widened(x).double()
    return narrowed(torch.sqrt(torch.sum(wide * wide, axes, keepdim=keep)), x.dtype)


def _sum_square(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    wide = x.float() if x.dtype in HALVES else widened(x)
    return narrowed(torch.sum(wide * wide, axes, keepdim=keep), x.dtype)


def _log_sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    wide = x.float() if x.dtype in HALVES else (x if x.is_floating_point() else widened(x).double())
    return narrowed(torch.log(torch.sum(wide, axes, keepdim=keep)), x.dtype)


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    wide = x.float() if x.dtype in HALVES else (x if x.is_floating_point() else widened(x).double())
    return narrowed(torch.logsumexp(wide, axes, keepdim=keep), x.dtype)


def _extreme(greatest: bool) -> Kernel:
    def kernel(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        pick = torch.amax if greatest else torch.amin
        if x.dtype == torch.bool:
            return pick(x.to(torch.uint8), axes, keepdim=keep).bool()
        if not x.is_floating_point():
            return reordered(_pick_or_bound(pick, ordered(x), axes, keep, greatest), x.dtype)
        result = _pick_or_bound(pick, x, axes, keep, greatest)
        if bool(torch.isnan(result.detach()).any()):
            # onnxruntime passes over a NaN unless it comes first
            seen = torch.where(torch.isnan(x), -torch.inf if greatest else torch.inf, x)
            first = x
            for axis in axes:
                first = first.narrow(axis, 0, 1)
            first = first if keep else first.reshape(result.shape)
            result = torch.where(torch.isnan(first), first, pick(seen, axes, keepdim=keep))
        return result

    return kernel


def _pick_or_bound(pick: Kernel, x: Tensor, axes: list[int], keep: bool, greatest: bool) -> Tensor:
    """Reduce; over no elements at all give the type's bound, as ONNX defines since opset 20."""
    if all(x.shape[a] for a in axes):
        return pick(x, axes, keepdim=keep)  # type: ignore[call-arg]
    shape = [1 if i in axes else d for i, d in enumerate(x.shape)]
    shape = shape if keep else [d for i, d in enumerate(x.shape) if i not in axes]
    if x.is_floating_point():
        bound = -torch.inf if greatest else torch.inf
    else:
        bound = torch.iinfo(x.dtype).min if greatest else torch.iinfo(x.dtype).max
    return torch.full(shape, bound, dtype=x.dtype, device=x.device)


_KERNELS: dict[str, tuple[Kernel, CodesPolicy]] = {
    "ReduceSum": (_sum, "concrete"),
    "ReduceMean": (_mean, "concrete"),
    "ReduceProd": (_prod, "concrete"),
    "ReduceMax": (_extreme(True), "carry"),
    "ReduceMin": (_extreme(False), "carry"),
    "ReduceL1": (_l1, "concrete"),
    "ReduceL2": (_l2, "concrete"),
    "ReduceSumSquare": (_sum_square, "concrete"),
    "ReduceLogSum": (_log_sum, "concrete"),
    "ReduceLogSumExp": (_log_sum_exp, "concrete"),
}


def _reduce(kernel: Kernel, x: Tensor, axes: list[int] | None, keepdims: int, noop: int) -> Tensor:
    if not axes:
        if noop:
            return kernel(x.unsqueeze(0), [0], False)
        axes = list(range(x.ndim))
    if not x.ndim:
        return kernel(x.reshape(1), [0], False)
    return kernel(x, [a % x.ndim for a in axes], bool(keepdims))


def _register(name: str, kernel: Kernel, codes: CodesPolicy) -> None:
    def by_attribute(x: Tensor, *, axes: list[int] | None = None, keepdims: int = 1) -> Tensor:
        return _reduce(kernel, x, axes, keepdims, 0)

    def by_input(x: Tensor, axes: Tensor | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        return _reduce(kernel, x, None if axes is None else ints(axes), keepdims, noop_with_empty_axes)

    # ReduceSum took its axes as an input five opsets before the others
    moved = 13 if name == "ReduceSum" else 18
    by_attribute.__name__, by_input.__name__ = f"{name}_1", name
    by_attribute.__doc__ = f"{name} along *axes*, all by default (ONNX {name} before opset {moved})."
    by_input.__doc__ = f"{name} along *axes*, all by default (ONNX {name} from opset {moved})."
    op(name, codes=codes)(by_attribute)
    op(name, since=moved, codes=codes)(by_input)


for _name, (_kernel, _policy) in _KERNELS.items():
    _register(_name, _kernel, _policy)
