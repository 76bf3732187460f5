"""Element-wise, pooling and moving ops of onnxruntime's quantizer (com.microsoft): float arithmetic on codes.

onnxruntime builds most of its tables and kernels the same way: dequantize, compute in float32, quantize.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._codes import centred, dequantize, quantize_codes
from faultsim.model.ops.registry import Context, find, op
from faultsim.model.ste import round_ste, saturate
from faultsim.model.values import Codes, carried, code_range, elem_type_of

MICROSOFT = "com.microsoft"
Number = Tensor | Codes


@op("QLinearAdd", domain=MICROSOFT, codes="aware")
def QLinearAdd(
    a: Number,
    a_scale: Number,
    a_zero_point: Number | None,
    b: Number,
    b_scale: Number,
    b_zero_point: Number | None,
    c_scale: Number,
    c_zero_point: Number | None = None,
) -> Codes:
    """Codes of the sum of two quantized tensors (com.microsoft QLinearAdd)."""
    scale = _number(c_scale)
    left = centred(a, a_zero_point) * (_number(a_scale) / scale)
    right = centred(b, b_zero_point) * (_number(b_scale) / scale)
    return _rounded(left + right, c_zero_point, a)


@op("QLinearMul", domain=MICROSOFT, codes="aware")
def QLinearMul(
    a: Number,
    a_scale: Number,
    a_zero_point: Number | None,
    b: Number,
    b_scale: Number,
    b_zero_point: Number | None,
    c_scale: Number,
    c_zero_point: Number | None = None,
) -> Codes:
    """Codes of the product of two quantized tensors (com.microsoft QLinearMul)."""
    scale = _number(a_scale) * _number(b_scale) / _number(c_scale)
    return _rounded(centred(a, a_zero_point) * centred(b, b_zero_point) * scale, c_zero_point, a)


@op("QLinearSigmoid", domain=MICROSOFT, codes="aware")
def QLinearSigmoid(
    x: Number,
    x_scale: Number,
    x_zero_point: Number | None,
    y_scale: Number,
    y_zero_point: Number | None = None,
) -> Codes:
    """Codes of the logistic function (com.microsoft QLinearSigmoid)."""
    return _codes(torch.sigmoid(_real(x, x_scale, x_zero_point)), y_scale, y_zero_point, x)


@op("QLinearLeakyRelu", domain=MICROSOFT, codes="aware")
def QLinearLeakyRelu(
    x: Number,
    x_scale: Number,
    x_zero_point: Number | None,
    y_scale: Number,
    y_zero_point: Number | None = None,
    *,
    alpha: float = 0.01,
) -> Codes:
    """Codes of LeakyRelu (com.microsoft QLinearLeakyRelu)."""
    result = functional.leaky_relu(_real(x, x_scale, x_zero_point), alpha)
    return _codes(result, y_scale, y_zero_point, x)


@op("QLinearSoftmax", domain=MICROSOFT, codes="aware")
def QLinearSoftmax(
    x: Number,
    x_scale: Number,
    x_zero_point: Number | None,
    y_scale: Number,
    y_zero_point: Number | None = None,
    *,
    opset: int,
    axis: int = -1,
) -> Codes:
    """Codes of Softmax; before opset 13 over all axes from *axis* on (com.microsoft QLinearSoftmax)."""
    real = _real(x, x_scale, x_zero_point)
    if opset >= 13:
        return _codes(torch.softmax(real, axis), y_scale, y_zero_point, x)
    flat = real.flatten(axis % real.ndim)
    return _codes(torch.softmax(flat, -1).reshape(real.shape), y_scale, y_zero_point, x)


@op("QLinearReduceMean", domain=MICROSOFT, codes="aware")
def QLinearReduceMean(
    x: Number,
    x_scale: Number,
    x_zero_point: Number | None,
    y_scale: Number,
    y_zero_point: Number | None = None,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
) -> Codes:
    """Codes of the mean over axes (com.microsoft QLinearReduceMean)."""
    real = _real(x, x_scale, x_zero_point)
    mean = real.mean(list(axes) if axes else list(range(real.ndim)), keepdim=bool(keepdims))
    return _codes(mean, y_scale, y_zero_point, x)


@op("QLinearWhere", domain=MICROSOFT, codes="aware")
def QLinearWhere(
    condition: Tensor,
    x: Number,
    x_scale: Number,
    x_zero_point: Number,
    y: Number,
    y_scale: Number,
    y_zero_point: Number,
    z_scale: Number,
    z_zero_point: Number,
) -> Codes:
    """Codes of one tensor or the other (com.microsoft QLinearWhere)."""
    picked = torch.where(condition, _real(x, x_scale, x_zero_point), _real(y, y_scale, y_zero_point))
    return _codes(picked, z_scale, z_zero_point, x)


@op("QLinearConcat", domain=MICROSOFT, codes="aware")
def QLinearConcat(y_scale: Number, y_zero_point: Number, *inputs: Any, axis: int) -> Codes:
    """Codes of quantized tensors side by side; the inputs are (codes, scale, zero point) triples."""
    reals = [_real(*inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return _codes(torch.cat(reals, axis), y_scale, y_zero_point, inputs[0])


@op("QLinearGlobalAveragePool", domain=MICROSOFT, codes="aware")
def QLinearGlobalAveragePool(
    x: Number,
    x_scale: Number,
    x_zero_point: Number,
    y_scale: Number,
    y_zero_point: Number,
    *,
    channels_last: int = 0,
) -> Codes:
    """Codes of the mean over space (com.microsoft QLinearGlobalAveragePool)."""
    real = _real(x, x_scale, x_zero_point)
    spatial = list(range(1, real.ndim - 1)) if channels_last else list(range(2, real.ndim))
    return _codes(real.mean(spatial, keepdim=True), y_scale, y_zero_point, x)


@op("QLinearAveragePool", domain=MICROSOFT, codes="aware")
def QLinearAveragePool(
    x: Number,
    x_scale: Number,
    x_zero_point: Number | None,
    y_scale: Number,
    y_zero_point: Number | None = None,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    ctx: Context,
) -> Codes:
    """Codes of AveragePool (com.microsoft QLinearAveragePool)."""
    pool = find("", "AveragePool", 11)
    if pool is None:
        raise NotImplementedError("AveragePool is missing from the table")
    extra = {"ctx": ctx} if pool.wants_context else {}
    real = _real(x, x_scale, x_zero_point)
    pooled = pool.function(
        real.movedim(-1, 1) if channels_last else real,
        kernel_shape=kernel_shape,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        pads=pads,
        strides=strides,
        **extra,
    )
    return _codes(pooled.movedim(1, -1) if channels_last else pooled, y_scale, y_zero_point, x)


def _number(scale: Number) -> Tensor:
    return carried(scale).float().reshape(())


def _rounded(scaled: Tensor, zero_point: Number | None, like: Number) -> Codes:
    """Codes of numbers in units of the output's scale. The zero point goes in first: it decides ties."""
    elem = elem_type_of(like)
    shifted = scaled if zero_point is None else scaled + carried(zero_point).reshape(())
    return Codes(saturate(round_ste(shifted), *code_range(elem)), elem)


def _real(x: Number, scale: Number, zero_point: Number | None) -> Tensor:
    zero = None if zero_point is None else carried(zero_point).reshape(())
    return dequantize(x, carried(scale).reshape(()), zero)


def _codes(real: Tensor, scale: Number, zero_point: Number | None, like: Number) -> Codes:
    zero = None if zero_point is None else carried(zero_point).reshape(())
    return quantize_codes(real, carried(scale).reshape(()), zero, elem_type_of(like))
