"""Arithmetic the quantized ops share: scales along an axis, codes to floats and back, exact integer products.

No op lives here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from onnx import TensorProto
from torch import Tensor

from faultsim.model.ste import quantize, quotient, replace_ste, round_ste, saturate
from faultsim.model.values import CODE_BITS, Codes, carried, code_range, elem_type_of

EXACT_FLOAT32 = float(1 << 24)
INT32_SPAN = float(1 << 32)


class FloatKind(NamedTuple):
    """A float format below 16 bits; `overflow` is what a number beyond `greatest` turns into."""

    mantissa: int
    least_exponent: int
    greatest: float
    overflow: float
    signed_zero: bool


FLOAT_KINDS: dict[int, FloatKind] = {
    TensorProto.FLOAT8E4M3FN: FloatKind(3, -6, 448.0, float("nan"), True),
    TensorProto.FLOAT8E4M3FNUZ: FloatKind(3, -7, 240.0, float("nan"), False),
    TensorProto.FLOAT8E5M2: FloatKind(2, -14, 57344.0, float("inf"), True),
    TensorProto.FLOAT8E5M2FNUZ: FloatKind(2, -15, 57344.0, float("nan"), False),
    TensorProto.FLOAT4E2M1: FloatKind(1, 0, 6.0, 6.0, True),
}
"""Formats of [OFP8]_, [Noune2022]_ (UZ) and [OCPMX]_ (float4).

References:
    .. [OFP8] P. Micikevicius et al. FP8 formats for deep learning. arXiv 2209.05433, table 1.
    .. [Noune2022] B. Noune et al. 8-bit numerical formats for deep neural networks. arXiv 2206.02915.
    .. [OCPMX] Open Compute Project. OCP Microscaling Formats (MX) v1.0, 2023, section 5.3.
"""


def along(parameter: Tensor, shape: Sequence[int], axis: int, block_size: int = 0) -> Tensor:
    """Return a scale or zero point (per tensor, per axis or blocked) so that it broadcasts over *shape*."""
    if parameter.numel() == 1 and (parameter.ndim <= 1 or not block_size):
        return parameter.reshape(())
    if not shape:
        raise ValueError(f"a scale of {parameter.numel()} elements does not fit a scalar")
    axis %= len(shape)
    if parameter.ndim == 1 and not (block_size and len(shape) == 1):
        return parameter.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    if not block_size:
        block_size = -(-shape[axis] // parameter.shape[axis])
    return parameter.repeat_interleave(block_size, dim=axis).narrow(axis, 0, shape[axis])


def quantize_codes(
    x: Tensor, scale: Tensor, zero_point: Tensor | None, elem_type: int, *, saturating: bool = True
) -> Codes:
    """Return the codes of floats; *scale* and *zero_point* broadcast to *x*."""
    if elem_type in CODE_BITS:
        low, high = code_range(elem_type)
        return Codes(quantize(x, scale, _non_zero(zero_point), low, high), elem_type)
    return Codes(round_to_float(quotient(x, scale), elem_type, saturating=saturating), elem_type)


def round_to_float(x: Tensor, elem_type: int, *, saturating: bool = True) -> Tensor:
    """Return the nearest numbers of a float format below 16 bits, ties to even, straight-through."""
    kind = FLOAT_KINDS[elem_type]
    data = x.detach().float()
    exponent = torch.frexp(data).exponent - 1
    quantum = torch.exp2((torch.clamp(exponent, min=kind.least_exponent) - kind.mantissa).float())
    rounded = torch.where(torch.isfinite(data), torch.round(data / quantum) * quantum, data)
    over = rounded.abs() > kind.greatest
    if saturating or kind.overflow == kind.greatest:
        rounded = torch.where(over, torch.copysign(torch.full_like(rounded, kind.greatest), rounded), rounded)
    else:
        rounded = torch.where(over, torch.copysign(torch.full_like(rounded, kind.overflow), rounded), rounded)
    if not kind.signed_zero:
        rounded = torch.where(rounded == 0, torch.zeros_like(rounded), rounded)
    if not x.requires_grad:
        return rounded
    inside = torch.where(over, x.detach(), x) if saturating else x
    return replace_ste(inside.float(), rounded)


def dequantize(x: Tensor | Codes, scale: Tensor, zero_point: Tensor | None) -> Tensor:
    """Return ``(x - zero_point) * scale`` in float32, or in the scale's type if wider; both broadcast."""
    values = carried(x)
    zero_point = _non_zero(zero_point)
    wide = torch.float64 if scale.dtype == torch.float64 else torch.float32
    if zero_point is None:
        return values.to(wide) * scale.to(wide)
    values = (values - zero_point).to(wide)
    if values.requires_grad or scale.requires_grad:
        return values * scale.to(wide)
    return values.mul_(scale.to(wide))


def centred(x: Tensor | Codes, zero_point: Tensor | Codes | None) -> Tensor:
    """Return codes minus their zero point, carried in float; the zero point is a scalar or broadcasts."""
    values = carried(x)
    zero = None if zero_point is None else _non_zero(carried(zero_point))
    if zero is None:
        return values
    return values - (zero.reshape(()) if zero.numel() == 1 else zero)


def exact_product(
    x: Tensor,
    w: Tensor,
    weight_sums: Tensor,
    product: Callable[[Tensor, Tensor], Tensor],
    bias: Tensor | None = None,
) -> Tensor:
    """Return an integer product exactly as int32 arithmetic has it, wrap-around and all.

    Every partial sum is at most ``max|x| * sum|w|`` per output. Below 2**24 float32 holds each of them
    exactly; above, float64 does.

    Args:
        x: Centred codes.
        w: Centred codes of the weights.
        weight_sums: ``sum|w|`` per output, detached.
        product: The convolution or matrix product, without a bias.
        bias: Integers that broadcast to the product, or None.
    """
    bound = _peak(x) * _peak(weight_sums) + (0.0 if bias is None else _peak(bias))
    if bound < EXACT_FLOAT32:
        total = product(x.float(), w.float())
        total = total if bias is None else total + bias.float()
        # cuDNN may take Winograd or FFT kernels, exact only up to rounding.
        return round_ste(total) if total.is_cuda else total
    total = product(x.double(), w.double())
    total = total if bias is None else total + bias.double()
    total = round_ste(total)
    if bound < INT32_SPAN / 2:
        return total
    wraps = torch.floor((total.detach() + INT32_SPAN / 2) / INT32_SPAN)
    return total - wraps * INT32_SPAN


def requantize(total: Tensor, multiplier: Tensor, zero_point: Tensor | Codes | None, elem_type: int) -> Codes:
    """Return the codes of ``total * multiplier``: a product where QuantizeLinear divides."""
    scaled = round_ste(total.float() * multiplier)
    zero = None if zero_point is None else _non_zero(carried(zero_point))
    low, high = code_range(elem_type)
    return Codes(saturate(scaled if zero is None else scaled + zero, low, high), elem_type)


def code_type(zero_point: Tensor | Codes | None) -> int:
    """Return the element type of the codes that *zero_point* belongs to, uint8 where it is absent."""
    return TensorProto.UINT8 if zero_point is None else elem_type_of(zero_point)


def _peak(x: Tensor) -> float:
    return float(x.detach().abs().amax()) if x.numel() else 0.0


def _non_zero(zero_point: Tensor | None) -> Tensor | None:
    """None instead of a zero point that is all zero: one pass less. On a GPU asking would cost more."""
    if zero_point is None or zero_point.requires_grad or zero_point.is_cuda:
        return zero_point
    return zero_point if bool(zero_point.any()) else None
