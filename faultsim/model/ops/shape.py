"""Ops that keep the order of elements: Reshape, Squeeze, Flatten, Expand, Shape, Size, Identity."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.model.ops._widen import ints, moves
from faultsim.model.ops.registry import op
from faultsim.model.values import Codes, Value


@op("Identity", codes="aware")
def Identity(x: Value) -> Value:
    """*x* itself, a sequence or an optional too (ONNX Identity-25)."""
    return x


def _shape_of(x: Tensor | Codes | NDArray[Any]) -> tuple[list[int], torch.device]:
    if isinstance(x, np.ndarray):
        return list(x.shape), torch.device("cpu")
    tensor = x.values if isinstance(x, Codes) else x
    return list(tensor.shape), tensor.device


@op("Shape", codes="aware")
def Shape(x: Tensor | Codes | NDArray[Any], *, start: int = 0, end: int | None = None) -> Tensor:
    """The shape of *x*, or its slice start:end (ONNX Shape-25)."""
    shape, device = _shape_of(x)
    return torch.tensor(shape[start:end], dtype=torch.int64, device=device)


@op("Size", codes="aware")
def Size(x: Tensor | Codes | NDArray[Any]) -> Tensor:
    """The number of elements of *x* (ONNX Size-25)."""
    shape, device = _shape_of(x)
    return torch.tensor(int(np.prod(shape, dtype=np.int64)), dtype=torch.int64, device=device)


@op("Reshape", codes="carry")
@moves
def Reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """*x* in another shape; 0 copies a dimension unless *allowzero*, -1 is inferred (ONNX Reshape-25)."""
    wanted = ints(shape)
    if not allowzero:
        wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    if -1 in wanted and x.numel() == 0:
        # torch cannot infer a dimension of an empty tensor: ONNX makes it 0
        known = int(np.prod([d for d in wanted if d != -1], dtype=np.int64))
        wanted = [(0 if known else 1) if d == -1 else d for d in wanted]
    return x.reshape(wanted)


@op("Flatten", codes="carry")
@moves
def Flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """*x* as a matrix: the axes before *axis* against the rest (ONNX Flatten-25)."""
    axis += x.ndim if axis < 0 else 0
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, int(np.prod(x.shape[axis:], dtype=np.int64)))


def _squeeze(x: Tensor, axes: Sequence[int] | None) -> Tensor:
    if axes is None:
        return x.squeeze()
    wanted = {a % x.ndim for a in axes}
    for a in wanted:
        if x.shape[a] != 1:
            raise ValueError(f"Squeeze cannot drop axis {a}: its size is {x.shape[a]}, it must be 1")
    return x.reshape([d for i, d in enumerate(x.shape) if i not in wanted])


@op("Squeeze", codes="carry")
@moves
def Squeeze_1(x: Tensor, *, axes: list[int] | None = None) -> Tensor:
    """*x* without its axes of size 1, or without *axes* (ONNX Squeeze-11)."""
    return _squeeze(x, axes)


@op("Squeeze", since=13, codes="carry")
@moves
def Squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """*x* without its axes of size 1, or without *axes* (ONNX Squeeze-25)."""
    return _squeeze(x, None if axes is None else ints(axes))


def _unsqueeze(x: Tensor, axes: Sequence[int]) -> Tensor:
    rank = x.ndim + len(axes)
    new = {a % rank for a in axes}
    if len(new) < len(axes):
        raise ValueError(f"Unsqueeze got axes {list(axes)}; they must not repeat")
    sizes = iter(x.shape)
    return x.reshape([1 if i in new else next(sizes) for i in range(rank)])


@op("Unsqueeze", codes="carry")
@moves
def Unsqueeze_1(x: Tensor, *, axes: list[int]) -> Tensor:
    """*x* with new *axes* of size 1 (ONNX Unsqueeze-11)."""
    return _unsqueeze(x, axes)


@op("Unsqueeze", since=13, codes="carry")
@moves
def Unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    """*x* with new *axes* of size 1 (ONNX Unsqueeze-25)."""
    return _unsqueeze(x, ints(axes))


@op("Expand", codes="carry")
@moves
def Expand(x: Tensor, shape: Tensor) -> Tensor:
    """*x* broadcast with *shape*, both ways (ONNX Expand-13)."""
    wanted = ints(shape)
    rank = max(x.ndim, len(wanted))
    have = [1] * (rank - x.ndim) + list(x.shape)
    ask = [1] * (rank - len(wanted)) + wanted
    return x.expand([h if w == 1 else w for h, w in zip(have, ask, strict=True)])
