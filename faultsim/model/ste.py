"""Rounding and saturation with straight-through gradients, bit-equal to onnxruntime forward."""

import math
from typing import Any

import torch
from torch import Tensor


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Ceil(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.ceil(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Replace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class _Saturate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward((x >= low) & (x <= high))
        return torch.clamp(x, low, high).nan_to_num_(nan=low, posinf=high, neginf=low)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return torch.where(inside, grads[0], 0), None, None


class _Quotient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return torch.div(x, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, scale = ctx.saved_tensors
        return _quotient_grads(ctx, x, scale, grads[0])


class _Quantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor | None, low: float, high: float) -> Tensor:
        codes = torch.div(x, scale).round_()
        if zero_point is not None:
            codes = codes.add_(zero_point)
        codes = codes.nan_to_num_(nan=low - 1, posinf=math.inf, neginf=-math.inf)  # a NaN is saturated, to low
        ctx.save_for_backward(x, scale, codes)
        ctx.ends = low - 0.5, high + 0.5
        ctx.zero_point_shape = None if zero_point is None else zero_point.shape
        return codes.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, scale, codes = ctx.saved_tensors
        # One pass over whole numbers; a mask and a where take ten times as long.
        grad = torch.ops.aten.hardtanh_backward(grads[0], codes, *ctx.ends)
        to_x, to_scale = _quotient_grads(ctx, x, scale, grad)
        to_zero_point = grad.sum_to_size(ctx.zero_point_shape) if ctx.needs_input_grad[2] else None
        return to_x, to_scale, to_zero_point, None, None


def _quotient_grads(ctx: Any, x: Tensor, scale: Tensor, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    to_x = (grad / scale).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None
    to_scale = None
    if ctx.needs_input_grad[1]:
        # 0 * inf: an element whose gradient was cut must not poison the sum.
        product = torch.where(grad == 0, 0, grad * x / scale / scale)
        to_scale = -product.sum_to_size(scale.shape)
    return to_x, to_scale


def _apply(function: Any, *arguments: Any) -> Tensor:
    result: Tensor = function.apply(*arguments)
    return result


def _tracked(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def round_ste(x: Tensor) -> Tensor:
    """Round half to even; the gradient passes as if nothing was rounded (straight-through, [Bengio2013]_).

    References:
        .. [Bengio2013] Y. Bengio et al. Estimating gradients through stochastic neurons. arXiv 1308.3432.
    """
    return _apply(_Round, x) if _tracked(x) else torch.round(x)


def floor_ste(x: Tensor) -> Tensor:
    """Round down; the gradient passes unchanged."""
    return _apply(_Floor, x) if _tracked(x) else torch.floor(x)


def ceil_ste(x: Tensor) -> Tensor:
    """Round up; the gradient passes unchanged."""
    return _apply(_Ceil, x) if _tracked(x) else torch.ceil(x)


def replace_ste(x: Tensor, value: Tensor) -> Tensor:
    """Return *value* (same shape as *x*), with the gradient of *x* as if nothing had happened to it."""
    return _apply(_Replace, x, value) if _tracked(x) else value


def saturate(x: Tensor, low: float, high: float) -> Tensor:
    """Clamp to [low, high], NaN to *low* as onnxruntime's QuantizeLinear does; gradient only inside."""
    if _tracked(x):
        return _apply(_Saturate, x, low, high)
    return torch.clamp(x, low, high).nan_to_num_(nan=low, posinf=high, neginf=low)


def quotient(x: Tensor, scale: Tensor) -> Tensor:
    """Return ``x / scale``; where no gradient comes back, none goes on, even if the quotient is not finite.

    Plain division hands the scale ``0 * inf = NaN`` as soon as one saturated element was infinite.
    """
    return _apply(_Quotient, x, scale) if _tracked(x) or _tracked(scale) else torch.div(x, scale)


def quantize(x: Tensor, scale: Tensor, zero_point: Tensor | None, low: float, high: float) -> Tensor:
    """Return ``saturate(round(x / scale) + zero_point)`` as ONNX's QuantizeLinear has it, NaN to *low*.

    Gradients are straight-through, zero where saturated, and reach *x*, *scale* and *zero_point*.

    Args:
        x: Floats.
        scale: Broadcastable to *x*.
        zero_point: Broadcastable to *x*, or None for zero.
        low: Least code.
        high: Greatest code.
    """
    if _tracked(x) or _tracked(scale) or (zero_point is not None and _tracked(zero_point)):
        return _apply(_Quantize, x, scale, zero_point, low, high)
    codes = torch.div(x, scale).round_()
    if zero_point is not None:
        codes = codes.add_(zero_point)
    return codes.clamp_(low, high).nan_to_num_(nan=low)
