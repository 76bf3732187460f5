"""QONNX ops as the qonnx executor has them: Quant, BipolarQuant, Trunc, FloatQuant; FINN's MultiThreshold.

All work on floats; NaN stays NaN, for these graphs have no integer tensors that could not hold it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from faultsim.model.ops.registry import op
from faultsim.model.ste import ceil_ste, floor_ste, quotient, replace_ste, round_ste

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")


def _up(x: Tensor) -> Tensor:
    return replace_ste(x, torch.sign(x) * torch.ceil(torch.abs(x)))


def _down(x: Tensor) -> Tensor:
    return replace_ste(x, torch.trunc(x))


def _half_up(x: Tensor) -> Tensor:
    return replace_ste(x, torch.sign(x) * torch.floor(torch.abs(x) + 0.5))


def _half_down(x: Tensor) -> Tensor:
    return replace_ste(x, torch.sign(x) * torch.ceil(torch.abs(x) - 0.5))


ROUNDING: dict[str, Callable[[Tensor], Tensor]] = {
    "ROUND": round_ste,
    "HALF_EVEN": round_ste,
    "CEIL": ceil_ste,
    "FLOOR": floor_ste,
    "UP": _up,
    "DOWN": _down,
    "ROUND_TO_ZERO": _down,
    "HALF_UP": _half_up,
    "HALF_DOWN": _half_down,
}
"""Rounding modes; UP and HALF_UP go away from zero, as in qonnx."""


def Quant(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    bit_width: Tensor,
    *,
    signed: int = 1,
    narrow: int = 0,
    rounding_mode: str = "ROUND",
) -> Tensor:
    """Floats on the grid of an integer quantizer (QONNX Quant, IntQuant)."""
    codes = quotient(x, scale) + zero_point
    if signed and bit_width.numel() == 1 and float(bit_width.detach()) == 1.0:
        # qonnx: one signed bit means -1 and 1.
        codes = replace_ste(codes, torch.where(codes >= 0, 1.0, -1.0).to(codes.dtype))
    else:
        low, high = _range(bit_width, bool(signed), bool(narrow))
        codes = rounding(rounding_mode)(_clamped(codes, low, high))
    return (codes - zero_point) * scale


def BipolarQuant(x: Tensor, scale: Tensor) -> Tensor:
    """Minus or plus the scale (QONNX BipolarQuant); gradient where ``|x| <= 1`` ([Courbariaux2016]_).

    References:
        .. [Courbariaux2016] M. Courbariaux et al. Binarized neural networks. arXiv 1602.02830, eq. 4.
    """
    signs = torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
    return replace_ste(torch.clamp(x, -1, 1), signs) * scale


def Trunc(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    bit_width: Tensor,
    *others: Tensor,
    signed: int = 1,
    narrow: int = 0,
    rounding_mode: str = "FLOOR",
) -> Tensor:
    """Floats with the low bits cut off (QONNX Trunc).

    The old signature ends in the output's bit width, the new one in the output's scale and bit width.
    """
    codes = round_ste(quotient(x, scale) + zero_point)
    cut = rounding(rounding_mode)
    if len(others) == 1:
        step = torch.exp2(bit_width - others[0])
        return (cut(codes / step) - zero_point) * scale
    output_scale, output_width = others
    step = torch.exp2(torch.round(torch.log2(output_scale / scale)))
    low, high = _range(output_width, bool(signed), bool(narrow))
    return (cut(_clamped(codes / step, low, high)) - zero_point / step) * output_scale


def FloatQuant(
    x: Tensor,
    scale: Tensor,
    exponent_width: Tensor,
    mantissa_width: Tensor,
    exponent_bias: Tensor,
    largest: Tensor | None = None,
    *,
    has_inf: int = 0,
    has_nan: int = 0,
    has_subnormal: int = 0,
    rounding_mode: str = "ROUND",
    saturation: int = 1,
) -> Tensor:
    """Floats on the grid of a narrow float format (QONNX FloatQuant)."""
    scaled = quotient(x, scale)
    data = scaled.detach()
    tiny = torch.finfo(data.dtype).tiny
    exponent = torch.floor(torch.log2(torch.abs(data) + tiny)) - mantissa_width
    quantum = torch.exp2(torch.maximum(exponent, 1.0 - exponent_bias - mantissa_width))
    rounded = rounding(rounding_mode)(scaled / quantum) * quantum
    most = (2.0 - torch.exp2(-mantissa_width)) * torch.exp2(torch.exp2(exponent_width) - 1.0 - exponent_bias)
    most = (most if largest is None else torch.minimum(most, largest)).detach()
    result = _clamped(rounded, -most, most)
    if not saturation:
        beyond = rounded.detach().abs() > most
        overflow = torch.copysign(torch.full_like(data, torch.inf if has_inf else torch.nan), data)
        result = torch.where(beyond, overflow, result)
    return result * scale


def MultiThreshold(
    x: Tensor,
    thresholds: Tensor,
    *,
    out_scale: float = 1.0,
    out_bias: float = 0.0,
    data_layout: str = "",
) -> Tensor:
    """How many thresholds of its channel each number reaches, scaled and shifted (FINN MultiThreshold).

    The gradient is that of the straight line through the ends of each channel's staircase.
    """
    layout = data_layout or {2: "NC", 3: "NWC", 4: "NCHW"}.get(x.ndim, "NC")
    channel = layout.index("C") if "C" in layout else 1
    steps = thresholds.reshape(thresholds.shape[0], *[1] * (x.ndim - 1 - channel), thresholds.shape[1])
    count = (x.unsqueeze(-1) >= steps).sum(-1).to(x.dtype)
    first, last = thresholds[:, 0].detach(), thresholds[:, -1].detach()
    shape = [-1, *[1] * (x.ndim - 1 - channel)]
    slope = (max(thresholds.shape[1] - 1, 1) / (last - first).clamp(min=torch.finfo(x.dtype).eps)).reshape(shape)
    line = torch.clamp(x, first.reshape(shape), last.reshape(shape)) * slope
    return replace_ste(line, count) * out_scale + out_bias


def rounding(mode: str) -> Callable[[Tensor], Tensor]:
    """Return the rounding function of a mode's name, in any case of letters.

    Raises:
        ValueError: If there is no such mode.
    """
    if mode.upper() not in ROUNDING:
        raise ValueError(f"rounding_mode {mode!r} is unknown; it must be one of {', '.join(ROUNDING)}")
    return ROUNDING[mode.upper()]


def _range(bit_width: Tensor, signed: bool, narrow: bool) -> tuple[Tensor, Tensor]:
    width = bit_width.detach()
    if signed:
        half = torch.exp2(width - 1)
        return (1 - half if narrow else -half), half - 1
    return torch.zeros_like(width), torch.exp2(width) - (2 if narrow else 1)


def _clamped(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.clamp(x, low.to(x.dtype), high.to(x.dtype))


_TABLE: dict[str, Callable[..., Any]] = {
    "Quant": Quant,
    "IntQuant": Quant,
    "BipolarQuant": BipolarQuant,
    "Trunc": Trunc,
    "FloatQuant": FloatQuant,
    "MultiThreshold": MultiThreshold,
}
for _domain in DOMAINS:
    for _name, _function in _TABLE.items():
        op(_name, domain=_domain)(_function)
