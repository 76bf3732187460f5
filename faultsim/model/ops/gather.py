"""Reading elements by index tensors: Gather and its kin, Compress. Writing lives in `scatter.py`."""

import torch
from torch import Tensor

from faultsim.model.ops._widen import moves
from faultsim.model.ops.registry import op


def wrapped(indices: Tensor, size: int, device: torch.device) -> Tensor:
    """Return int64 indices on *device*, negative ones counted from the end of an axis of *size*."""
    indices = indices.to(device=device, dtype=torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def _outside(indices: Tensor, size: int) -> str:
    """Say which index is not in an axis of *size*: a token that the vocabulary lacks, more often than not."""
    wrong = torch.nonzero((indices < -size) | (indices >= size))
    if not len(wrong):
        return f"no slices of an axis of {size}"
    place = wrong[0].tolist()
    return (
        f"index {int(indices[tuple(place)])} at {place} is outside the table of {size} rows ({-size}…{size - 1}); "
        "check that the ids in the data are the model's"
    )


@op("Gather", codes="carry")
@moves
def Gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """The slices of *x* along *axis* that *indices* name (ONNX Gather-13)."""
    axis %= x.ndim
    if not indices.ndim and indices.device.type == "cpu":
        return x.select(axis, int(indices))
    at = wrapped(indices, x.shape[axis], x.device)
    try:
        picked = x.index_select(axis, at.reshape(-1))
    except (IndexError, RuntimeError):
        raise ValueError(_outside(indices, x.shape[axis])) from None
    return picked.reshape(x.shape[:axis] + at.shape + x.shape[axis + 1 :])


@op("GatherElements", codes="carry")
@moves
def GatherElements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """For each index the element of *x* at its own place but along *axis* (ONNX GatherElements-13)."""
    return torch.gather(x, axis, wrapped(indices, x.shape[axis], x.device))


def tuples(indices: Tensor, x: Tensor, batch_dims: int = 0) -> tuple[Tensor, ...]:
    """Return the last axis of *indices* as one int64 tensor per axis it names, after the batch axes."""
    at = tuple(wrapped(indices[..., i], x.shape[batch_dims + i], x.device) for i in range(indices.shape[-1]))
    rank = indices.ndim - 1
    batch = tuple(
        torch.arange(x.shape[i], device=x.device).reshape([-1 if j == i else 1 for j in range(rank)])
        for i in range(batch_dims)
    )
    return batch + at


@op("GatherND", codes="carry")
@moves
def GatherND(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """The slices of *x* at the index tuples in the last axis of *indices* (ONNX GatherND-13)."""
    return x[tuples(indices, x, batch_dims)]


@op("Compress", codes="carry")
@moves
def Compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """The slices along *axis* (elements, if None) where *condition* holds (ONNX Compress-11)."""
    flat = x.reshape(-1) if axis is None else x
    at = torch.nonzero(condition.reshape(-1)).reshape(-1).to(x.device)
    return flat.index_select(0 if axis is None else axis, at)
