"""Truth: comparisons, And, Or, Xor, Not, Where. Bitwise ops live in `arithmetic.py`."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.model.ops._widen import moves, ordered, signed
from faultsim.model.ops.registry import op
from faultsim.model.values import Codes, carried


@op("Equal")
def Equal(a: Tensor | NDArray[Any], b: Tensor | NDArray[Any]) -> Tensor:
    """Return a = b, for text too (ONNX Equal-19)."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return torch.from_numpy(np.asarray(np.equal(a, b), dtype=bool))
    return torch.eq(signed(a), signed(b))


@op("Greater")
def Greater(a: Tensor, b: Tensor) -> Tensor:
    """Return a > b (ONNX Greater-13)."""
    return torch.gt(ordered(a), ordered(b))


@op("GreaterOrEqual")
def GreaterOrEqual(a: Tensor, b: Tensor) -> Tensor:
    """Return a >= b (ONNX GreaterOrEqual-16)."""
    return torch.ge(ordered(a), ordered(b))


@op("Less")
def Less(a: Tensor, b: Tensor) -> Tensor:
    """Return a < b (ONNX Less-13)."""
    return torch.lt(ordered(a), ordered(b))


@op("LessOrEqual")
def LessOrEqual(a: Tensor, b: Tensor) -> Tensor:
    """Return a <= b (ONNX LessOrEqual-16)."""
    return torch.le(ordered(a), ordered(b))


@op("And")
def And(a: Tensor, b: Tensor) -> Tensor:
    """Both (ONNX And-7)."""
    return torch.logical_and(a, b)


@op("Or")
def Or(a: Tensor, b: Tensor) -> Tensor:
    """Either (ONNX Or-7)."""
    return torch.logical_or(a, b)


@op("Xor")
def Xor(a: Tensor, b: Tensor) -> Tensor:
    """One alone (ONNX Xor-7)."""
    return torch.logical_xor(a, b)


@op("Not")
def Not(x: Tensor) -> Tensor:
    """The opposite (ONNX Not-1)."""
    return torch.logical_not(x)


@moves
def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


@op("Where", codes="aware")
def Where(condition: Tensor, x: Any, y: Any) -> Any:
    """*x* where the condition holds, *y* elsewhere, for text and codes too (ONNX Where-16)."""
    if isinstance(x, Codes) or isinstance(y, Codes):
        elem_type = x.elem_type if isinstance(x, Codes) else y.elem_type
        return Codes(torch.where(condition, carried(x), carried(y)), elem_type)
    return _where(condition, x, y)
