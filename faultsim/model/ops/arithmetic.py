"""Sums, products, quotients, powers and bits, element by element. Order lives in `extremes.py`."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from faultsim.model.ops._widen import HALVES, modular, narrowed, signed, through_numpy, unsigned, widened
from faultsim.model.ops.registry import op
from faultsim.model.ste import replace_ste
from faultsim.model.values import CODE_BITS, Codes, carried, code_range, concrete

F = TypeVar("F", bound=Callable[..., Any])


def _coded(function: F) -> F:
    """Let sums and products take codes: straight-through where gradients are on, else as integers."""
    plain = modular(function)

    @functools.wraps(function)
    def wrapper(a: Any, b: Any) -> Any:
        codes = a if isinstance(a, Codes) else b
        if not isinstance(codes, Codes):
            return plain(a, b)
        if not torch.is_grad_enabled() or codes.elem_type not in CODE_BITS:
            return plain(concrete(a), concrete(b))
        total = function(carried(a), carried(b))
        low, high = code_range(codes.elem_type)
        wrapped = torch.remainder(total.detach() - low, high - low + 1) + low
        return Codes(replace_ste(total, wrapped), codes.elem_type)

    return cast(F, wrapper)


@op("Add", codes="aware")
@_coded
def Add(a: Tensor, b: Tensor) -> Tensor:
    """Return a + b (ONNX Add-14); integers wrap."""
    return torch.add(a, b)


@op("Sub", codes="aware")
@_coded
def Sub(a: Tensor, b: Tensor) -> Tensor:
    """Return a - b (ONNX Sub-14); integers wrap."""
    return torch.sub(a, b)


@op("Mul", codes="aware")
@_coded
def Mul(a: Tensor, b: Tensor) -> Tensor:
    """Return a · b (ONNX Mul-14); integers wrap."""
    return torch.mul(a, b)


@op("Neg")
@modular
def Neg(x: Tensor) -> Tensor:
    """-x (ONNX Neg-13)."""
    return torch.neg(x)


@op("Div")
def Div(a: Tensor, b: Tensor) -> Tensor:
    """Return a / b (ONNX Div-14); integers round towards zero."""
    if a.is_floating_point():
        return torch.div(a, b)
    if a.dtype == torch.uint64:
        return through_numpy(np.floor_divide, a, b)
    return narrowed(torch.div(widened(a), widened(b), rounding_mode="trunc"), a.dtype)


@op("Mod")
def Mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """The remainder of a / b (ONNX Mod-13): with the sign of *b*, or of *a* if *fmod*."""
    if a.dtype == torch.uint64:
        return through_numpy(np.remainder, a, b)
    wide = a.float() if a.dtype in HALVES else widened(a)
    by = b.float() if b.dtype in HALVES else widened(b)
    return narrowed(torch.fmod(wide, by) if fmod else torch.remainder(wide, by), a.dtype)


@op("Pow")
def Pow(base: Tensor, exponent: Tensor) -> Tensor:
    """Return base to the exponent, in the type of *base* (ONNX Pow-15)."""
    if base.dtype == torch.uint64 or exponent.dtype == torch.uint64:
        return through_numpy(lambda x, y: np.power(x.astype(np.float64), y).astype(x.dtype), base, exponent)
    if exponent.numel() == 1 and not exponent.requires_grad and exponent.device.type == "cpu":
        number = exponent.item()  # a plain square must be x·x, as in onnxruntime, and fast
        if number in (1, 2, 3) and exponent.ndim <= base.ndim:
            power = torch.pow(widened(base), int(number))
            return narrowed(power, base.dtype)
    if base.is_floating_point():
        power = torch.pow(
            base.float() if base.dtype in HALVES else base,
            exponent.float() if exponent.dtype in HALVES else widened(exponent),
        )
    else:  # onnxruntime raises integers as doubles
        power = torch.pow(widened(base).double(), widened(exponent).double())
    return narrowed(power, base.dtype)


@op("Sum")
def Sum(*terms: Tensor) -> Tensor:
    """The sum of all inputs with broadcasting (ONNX Sum-13)."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@op("Mean")
def Mean(*terms: Tensor) -> Tensor:
    """The mean of all inputs with broadcasting (ONNX Mean-13)."""
    return torch.div(Sum(*terms), len(terms))


def _bit_op(function: Any, a: Tensor, b: Tensor) -> Tensor:
    return unsigned(function(signed(a), signed(b)), a.dtype)


@op("BitwiseAnd")
def BitwiseAnd(a: Tensor, b: Tensor) -> Tensor:
    """Bits set in both (ONNX BitwiseAnd-18)."""
    return _bit_op(torch.bitwise_and, a, b)


@op("BitwiseOr")
def BitwiseOr(a: Tensor, b: Tensor) -> Tensor:
    """Bits set in either (ONNX BitwiseOr-18)."""
    return _bit_op(torch.bitwise_or, a, b)


@op("BitwiseXor")
def BitwiseXor(a: Tensor, b: Tensor) -> Tensor:
    """Bits set in one alone (ONNX BitwiseXor-18)."""
    return _bit_op(torch.bitwise_xor, a, b)


@op("BitwiseNot")
@modular
def BitwiseNot(x: Tensor) -> Tensor:
    """Every bit flipped (ONNX BitwiseNot-18)."""
    return torch.bitwise_not(x)


@op("BitShift")
def BitShift(x: Tensor, by: Tensor, *, direction: str) -> Tensor:
    """Bits moved LEFT or RIGHT, zeros shifted in (ONNX BitShift-11); only unsigned types may be shifted."""
    if x.dtype == torch.uint64:
        return through_numpy(np.left_shift if direction == "LEFT" else np.right_shift, x, by)
    wide, steps = widened(x), widened(by)
    moved = wide << steps if direction == "LEFT" else wide >> steps
    return narrowed(moved, x.dtype)
