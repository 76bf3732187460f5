"""Writing elements by index tensors into a copy: ScatterElements, ScatterND, TensorScatter."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from faultsim.model.ops._widen import SIGNED_VIEW, moves, ordered, reordered
from faultsim.model.ops.gather import tuples, wrapped
from faultsim.model.ops.registry import op

F = TypeVar("F", bound=Callable[..., Any])
_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _comparing(function: F) -> F:
    """Let max and min scatters take awkward unsigned tensors, whose order `moves` does not keep."""

    @functools.wraps(function)
    def wrapper(x: Any, indices: Tensor, updates: Any, **kwargs: Any) -> Any:
        if kwargs.get("reduction") in ("max", "min") and getattr(x, "dtype", None) in SIGNED_VIEW:
            return reordered(function(ordered(x), indices, ordered(updates), **kwargs), x.dtype)
        return function(x, indices, updates, **kwargs)

    return cast(F, wrapper)


def _scatter_elements(x: Tensor, at: Tensor, updates: Tensor, axis: int, reduction: str) -> Tensor:
    updates = updates.to(x.dtype)
    if reduction == "none":
        return torch.scatter(x, axis, at, updates)
    if reduction == "add":
        return torch.scatter_add(x, axis, at, updates)
    return torch.scatter_reduce(x, axis, at, updates, reduce=_REDUCTIONS[reduction], include_self=True)


@op("Scatter", codes="carry")
@op("ScatterElements", codes="carry")
@_comparing
@moves
def ScatterElements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    """*x* with *updates* at *indices* along *axis*, replaced or reduced (ONNX ScatterElements-18)."""
    return _scatter_elements(x, wrapped(indices, x.shape[axis], x.device), updates, axis, reduction)


@op("ScatterND", codes="carry")
@_comparing
@moves
def ScatterND(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """*x* with *updates* at the index tuples in the last axis of *indices* (ONNX ScatterND-18)."""
    depth = indices.shape[-1]
    at = tuples(indices, x)
    if not depth:
        return updates.to(x.dtype).reshape(x.shape) if reduction == "none" else x + updates
    if reduction == "none":
        return x.index_put(at, updates.to(x.dtype))
    if reduction == "add":
        return x.index_put(at, updates.to(x.dtype), accumulate=True)
    inner = 1
    for size in x.shape[depth:]:
        inner *= size
    row = torch.zeros_like(at[0])
    for i, place in enumerate(at):
        row = row * x.shape[i] + place
    places = (row.reshape(-1, 1) * inner + torch.arange(inner, device=x.device)).reshape(-1)
    flat = _scatter_elements(x.reshape(-1), places, updates.reshape(-1), 0, reduction)
    return flat.reshape(x.shape)


@op("TensorScatter", codes="carry")
@moves
def TensorScatter(
    cache: Tensor,
    update: Tensor,
    write_indices: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Any:
    """*cache* with each sample's *update* written from its write index on (ONNX TensorScatter-24)."""
    axis %= cache.ndim
    batch, length, room = cache.shape[0], update.shape[axis], cache.shape[axis]
    device = cache.device
    start = torch.zeros(batch, dtype=torch.int64, device=device) if write_indices is None else write_indices
    at = start.to(device=device, dtype=torch.int64)[:, None] + torch.arange(length, device=device)
    at = at % room if mode == "circular" else at
    shape = [batch if i == 0 else length if i == axis else 1 for i in range(cache.ndim)]
    return torch.scatter(cache, axis, at.reshape(shape).expand(update.shape), update.to(cache.dtype))
