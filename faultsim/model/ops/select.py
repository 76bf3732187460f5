"""Ops that find positions: ArgMax, ArgMin, TopK, NonZero, Unique. A NaN is what onnxruntime makes of it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.model.ops._widen import ints, ordered, signed
from faultsim.model.ops.registry import op


def _rank_keys(x: Tensor, greatest: bool) -> Tensor:
    """Numbers in the order of *x* where a NaN never wins."""
    if x.dtype == torch.bool:
        return x.to(torch.uint8)
    if not x.is_floating_point():
        return ordered(x)
    return torch.where(torch.isnan(x), -torch.inf if greatest else torch.inf, x.detach())


def _arg(x: Tensor, axis: int, keepdims: int, last: int, greatest: bool) -> Tensor:
    if not x.ndim:
        return torch.zeros((), dtype=torch.int64, device=x.device)
    keys = _rank_keys(x, greatest)
    keys = keys.flip(axis) if last else keys
    found = (torch.argmax if greatest else torch.argmin)(keys, dim=axis, keepdim=True)
    found = x.shape[axis] - 1 - found if last else found
    if x.is_floating_point():
        found = torch.where(torch.isnan(x.narrow(axis, 0, 1)), 0, found)
    return found if keepdims else found.squeeze(axis)


@op("ArgMax")
def ArgMax(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """The position of the greatest along *axis*, the first (or last) of several (ONNX ArgMax-13).

    As in onnxruntime a NaN is passed over, unless it comes first: then it is the greatest.
    """
    return _arg(x, axis, keepdims, select_last_index, True)


@op("ArgMin")
def ArgMin(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """The position of the least along *axis* (ONNX ArgMin-13); ties and NaN as in ArgMax."""
    return _arg(x, axis, keepdims, select_last_index, False)


def _top(x: Tensor, k: int, axis: int, greatest: bool) -> tuple[Tensor, Tensor]:
    if k > x.shape[axis]:
        raise ValueError(f"TopK cannot take {k} elements of an axis of size {x.shape[axis]}")
    keys = _rank_keys(x, greatest)
    # a stable sort and not torch.topk: equal elements must come in the order of their positions
    at = torch.sort(keys, dim=axis, descending=greatest, stable=True).indices.narrow(axis, 0, k)
    if signed(x) is x:
        return torch.gather(x, axis, at), at
    return torch.gather(signed(x), axis, at).view(x.dtype), at


@op("TopK", codes="carry")
def TopK_1(x: Tensor, *, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """The *k* greatest along *axis* and their positions (ONNX TopK-1)."""
    return _top(x, k, axis, True)


@op("TopK", since=10, codes="carry")
def TopK(x: Tensor, k: Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    """The *k* greatest (or least) along *axis* and their positions, sorted, NaN last (ONNX TopK-24)."""
    return _top(x, ints(k)[0], axis, bool(largest))


@op("NonZero", codes="aware")
def NonZero(x: Any) -> Tensor:
    """The positions of all elements that are not zero, one column each (ONNX NonZero-13); NaN is not zero."""
    if isinstance(x, np.ndarray):
        return torch.from_numpy(np.array(np.nonzero(x), dtype=np.int64))
    tensor: Tensor = signed(x) if isinstance(x, Tensor) else x.values
    return torch.nonzero(tensor if tensor.ndim else tensor.reshape(1)).t().contiguous()


def _unique(x: Tensor, axis: int | None, in_order: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First positions (in the order of the result), inverse, counts, and the axis-wise values."""
    along = 0 if axis is None else axis % x.ndim
    flat = x.reshape(-1) if axis is None else x
    keys = ordered(flat.detach())
    size = flat.shape[along]
    if axis is None:
        _, inverse, counts = torch.unique(keys, sorted=True, return_inverse=True, return_counts=True)
    else:
        _, inverse, counts = torch.unique(keys, sorted=True, return_inverse=True, return_counts=True, dim=along)
    first = torch.full(counts.shape, size, dtype=torch.int64, device=x.device)
    first = first.scatter_reduce(0, inverse, torch.arange(size, device=x.device), reduce="amin")
    if not in_order:
        order = torch.argsort(first)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(order.numel(), device=x.device)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return signed(flat).index_select(along, first).view(x.dtype), first, inverse, counts


@op("Unique")
def Unique(
    x: Tensor | NDArray[Any], *, axis: int | None = None, sorted: int = 1
) -> tuple[Tensor | NDArray[Any], Tensor, Tensor, Tensor]:
    """The distinct elements (slices), where each comes first, which each is, how many (ONNX Unique-11)."""
    if not isinstance(x, np.ndarray):
        return _unique(x, axis, bool(sorted))
    vocabulary, numbers = np.unique(x.reshape(-1), return_inverse=True)
    found, *rest = _unique(torch.from_numpy(numbers.astype(np.int64)).reshape(x.shape), axis, bool(sorted))
    return (vocabulary[found.numpy()], rest[0], rest[1], rest[2])
