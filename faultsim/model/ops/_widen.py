"""Ways round the element types that torch has no kernels for: unsigned words, halves, text. No op lives here.

Modular arithmetic and movement run on the signed view of the same bits; order runs on a signed view shifted
by half the range; division and powers run on a wider type; text runs on the numbers of a sorted vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from faultsim.model.values import Codes

F = TypeVar("F", bound=Callable[..., Any])

SIGNED_VIEW: dict[torch.dtype, torch.dtype] = {
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
}
"""Unsigned types that torch hardly computes with, and the signed type of the same width."""

HALVES = frozenset({torch.float16, torch.bfloat16})


def signed(x: Tensor) -> Tensor:
    """Return the signed view of an awkward unsigned tensor's bits; any other tensor as it is."""
    view = SIGNED_VIEW.get(x.dtype)
    return x if view is None else x.view(view)


def unsigned(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Undo `signed`: view *x* as *dtype* if that is the awkward type of the same width."""
    return x.view(dtype) if SIGNED_VIEW.get(dtype) == x.dtype else x


def ordered(x: Tensor) -> Tensor:
    """Return signed integers in the same order as an awkward unsigned tensor; any other tensor as it is."""
    view = SIGNED_VIEW.get(x.dtype)
    return x if view is None else x.view(view) ^ torch.iinfo(view).min


def reordered(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Undo `ordered` for values of the type *dtype*."""
    view = SIGNED_VIEW.get(dtype)
    return x if view is None else (x ^ torch.iinfo(view).min).view(dtype)


def widened(x: Tensor) -> Tensor:
    """Return uint16 and uint32 as int64; uint64 as the int64 of the same bits; any other tensor as it is."""
    if x.dtype in SIGNED_VIEW:
        return x.view(torch.int64) if x.dtype == torch.uint64 else x.to(torch.int64)
    return x


def narrowed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return *x* as *dtype*; integers wrap around as two's complement does."""
    return x.view(dtype) if dtype == torch.uint64 and x.dtype == torch.int64 else x.to(dtype)


def through_numpy(function: Callable[..., Any], *arrays: Tensor) -> Tensor:
    """Apply a NumPy function to integers that torch cannot compute with; the result lies where they lie."""
    result = function(*(a.detach().cpu().numpy() for a in arrays))
    return torch.from_numpy(np.array(result)).to(arrays[0].device)


def modular(function: F) -> F:
    """Let a function of arithmetic modulo 2^n, or of plain movement, take awkward unsigned tensors.

    They go in as signed views of the same bits; results of the signed type come back as unsigned.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for a in args:
            if isinstance(a, Tensor) and a.dtype in SIGNED_VIEW:
                break
        else:
            return function(*args, **kwargs)
        dtype = a.dtype
        result = function(*(signed(b) if isinstance(b, Tensor) else b for b in args), **kwargs)
        if isinstance(result, tuple):
            return tuple(unsigned(r, dtype) for r in result)
        return unsigned(result, dtype)

    return cast(F, wrapper)


def moves(function: F) -> F:
    """Let a function that only moves elements take text (NumPy object arrays) and awkward unsigned tensors.

    Text goes in as int64 numbers of a vocabulary, in which the empty text is always there (padding, fills).
    """
    inner = modular(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for a in args:
            if isinstance(a, np.ndarray):
                break
            if isinstance(a, Tensor) and a.dtype in SIGNED_VIEW:
                return inner(*args, **kwargs)
        else:
            return function(*args, **kwargs)
        texts = [a for a in args if isinstance(a, np.ndarray)]
        vocabulary = np.unique(np.concatenate([t.reshape(-1) for t in texts] + [np.array([""], dtype=object)]))
        numbers = (
            torch.from_numpy(np.searchsorted(vocabulary, a).astype(np.int64).reshape(a.shape))
            if isinstance(a, np.ndarray)
            else a
            for a in args
        )
        result = function(*numbers, **kwargs)
        if isinstance(result, tuple):
            return tuple(vocabulary[np.asarray(r.cpu())] for r in result)
        return vocabulary[np.asarray(result.cpu())].reshape(tuple(result.shape))

    return cast(F, wrapper)


def in_float32(function: F) -> F:
    """Let a function of several float steps take 16-bit floats: it runs in float32 and is rounded once."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        first = args[0]
        if not (isinstance(first, Tensor) and first.dtype in HALVES):
            return function(*args, **kwargs)
        wide = (a.float() if isinstance(a, Tensor) and a.dtype in HALVES else a for a in args)
        result = function(*wide, **kwargs)
        if isinstance(result, tuple):
            return tuple(r.to(first.dtype) if r.dtype == torch.float32 else r for r in result)
        return result.to(first.dtype) if result.dtype == torch.float32 else result

    return cast(F, wrapper)


def ints(value: Any) -> list[int]:
    """Return shapes, axes and the like as a list of numbers, from a tensor, codes, a list or one number."""
    if isinstance(value, Codes):
        value = value.values.to(torch.int64)
    if isinstance(value, Tensor):
        value = value.tolist()
        if value and isinstance(value, list) and isinstance(value[0], list):
            raise ValueError(f"expected a shape or axes, one number or a row of them; got a tensor like {value}")
    return [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
