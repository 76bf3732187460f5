"""The greatest and least of several tensors, and bounds: Max, Min, Clip. Along an axis: `reduce.py`."""

import math

import torch
from torch import Tensor

from faultsim.model.ops._widen import ordered, reordered
from faultsim.model.ops.registry import op


@op("Max", codes="carry")
def Max(*terms: Tensor) -> Tensor:
    """The greatest of all inputs with broadcasting (ONNX Max-13); NaN wins."""
    greatest = ordered(terms[0])
    for term in terms[1:]:
        greatest = torch.maximum(greatest, ordered(term))
    return reordered(greatest, terms[0].dtype)


@op("Min", codes="carry")
def Min(*terms: Tensor) -> Tensor:
    """The least of all inputs with broadcasting (ONNX Min-13); NaN wins."""
    least = ordered(terms[0])
    for term in terms[1:]:
        least = torch.minimum(least, ordered(term))
    return reordered(least, terms[0].dtype)


def _number(bound: Tensor | None, absent: float) -> float | None:
    if bound is None:
        return absent
    number: float = bound.item()
    return None if math.isnan(number) else number


@op("Clip", codes="carry")
def Clip_6(x: Tensor, *, min: float = -3.4028234663852886e38, max: float = 3.4028234663852886e38) -> Tensor:
    """*x* between *min* and *max* (ONNX Clip-6)."""
    return torch.clamp(x, min, max)


@op("Clip", since=11, codes="carry")
def Clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """*x* between *low* and *high*, *high* where they cross (ONNX Clip-13).

    As in onnxruntime a NaN stays NaN, a bound that is NaN bounds nothing, and an absent one is the greatest finite
    number, so that infinities are cut.
    """
    low, high = (None if b is None or b.numel() == 0 else b for b in (low, high))
    bounds = [b for b in (low, high) if b is not None]
    if x.is_floating_point() and not any(b.requires_grad or b.is_cuda for b in bounds):
        finite = torch.finfo(x.dtype).max
        least, most = _number(low, -finite), _number(high, finite)
        return x if least is None and most is None else torch.clamp(x, least, most)
    low, high = (None if b is None else b.reshape(()) for b in (low, high))
    result = ordered(x)
    if x.is_floating_point() and len(bounds) < 2:
        finite = torch.finfo(x.dtype).max
        result = torch.clamp(result, -finite if low is None else None, finite if high is None else None)
    if low is not None:
        result = torch.where(result < ordered(low), ordered(low), result)
    if high is not None:
        result = torch.where(result > ordered(high), ordered(high), result)
    return reordered(result, x.dtype)
