"""Integer matrix products and convolutions of ONNX: ConvInteger, MatMulInteger, QLinearConv, QLinearMatMul.

Their int32 accumulators are exact; the arithmetic is in `_codes.py`.
"""

from collections.abc import Sequence

import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._codes import centred, code_type, exact_product, requantize
from faultsim.model.ops.registry import op
from faultsim.model.values import Codes, carried

Number = Tensor | Codes


@op("MatMulInteger", since=10, codes="aware")
def MatMulInteger(
    a: Number, b: Number, a_zero_point: Number | None = None, b_zero_point: Number | None = None
) -> Codes:
    """Exact int32 matrix product of codes less their zero points (MatMulInteger-10)."""
    return Codes(integer_matmul(a, b, a_zero_point, b_zero_point), TensorProto.INT32)


@op("QLinearMatMul", since=10, codes="aware")
def QLinearMatMul(
    a: Number,
    a_scale: Number,
    a_zero_point: Number,
    b: Number,
    b_scale: Number,
    b_zero_point: Number,
    y_scale: Number,
    y_zero_point: Number,
) -> Codes:
    """Codes of a matrix product of codes (QLinearMatMul-10, -21)."""
    total = integer_matmul(a, b, a_zero_point, b_zero_point)
    rows, columns = _rows(carried(a_scale).float()), _scalar(carried(b_scale).float())
    multiplier = rows * columns / _rows(carried(y_scale).float())
    return requantize(total, multiplier, _rows(carried(y_zero_point)), code_type(y_zero_point))


@op("ConvInteger", since=10, codes="aware")
def ConvInteger(
    x: Number,
    w: Number,
    x_zero_point: Number | None = None,
    w_zero_point: Number | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Codes:
    """Exact int32 convolution of codes less their zero points (ConvInteger-10)."""
    total = integer_conv(x, w, x_zero_point, w_zero_point, None, auto_pad, dilations, group, pads, strides)
    return Codes(total, TensorProto.INT32)


@op("QLinearConv", since=10, codes="aware")
def QLinearConv(
    x: Number,
    x_scale: Number,
    x_zero_point: Number,
    w: Number,
    w_scale: Number,
    w_zero_point: Number,
    y_scale: Number,
    y_zero_point: Number,
    bias: Number | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Codes:
    """Codes of a convolution of codes with an int32 bias (QLinearConv-10)."""
    total = integer_conv(x, w, x_zero_point, w_zero_point, bias, auto_pad, dilations, group, pads, strides)
    multiplier = carried(x_scale).float() * carried(w_scale).float() / carried(y_scale).float()
    channels = [1, -1, *[1] * (total.ndim - 2)]
    multiplier = multiplier.reshape(()) if multiplier.numel() == 1 else multiplier.reshape(channels)
    return requantize(total, multiplier, y_zero_point, code_type(y_zero_point))


def integer_matmul(
    a: Number,
    b: Number,
    a_zero_point: Number | None,
    b_zero_point: Number | None,
    bias: Number | None = None,
) -> Tensor:
    """Return the exact int32 product, carried in float; zero points per tensor, row of *a*, column of *b*."""
    left = centred(a, None if a_zero_point is None else _rows(carried(a_zero_point)))
    right = centred(b, None if b_zero_point is None else _scalar(carried(b_zero_point)))
    sums = right.detach().abs().sum(-2 if right.ndim > 1 else -1)
    return exact_product(left, right, sums, torch.matmul, None if bias is None else carried(bias))


def integer_conv(
    x: Number,
    w: Number,
    x_zero_point: Number | None,
    w_zero_point: Number | None,
    bias: Number | None,
    auto_pad: str,
    dilations: Sequence[int] | None,
    group: int,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
) -> Tensor:
    """Return the exact int32 convolution, carried in float; padding stands for the zero point."""
    image = centred(x, x_zero_point)
    kernel_zero = None if w_zero_point is None else carried(w_zero_point)
    spatial = image.ndim - 2
    if kernel_zero is not None and kernel_zero.numel() > 1:
        kernel_zero = kernel_zero.reshape([-1, *[1] * (spatial + 1)])
    kernel = centred(w, kernel_zero)
    steps, gaps = list(strides or [1] * spatial), list(dilations or [1] * spatial)
    begins, ends = _padding(image.shape[2:], kernel.shape[2:], auto_pad, pads, steps, gaps)
    symmetric = begins == ends
    if not symmetric:
        image = functional.pad(image, [p for pair in zip(begins[::-1], ends[::-1], strict=True) for p in pair])
    convolution = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[spatial]

    def product(left: Tensor, right: Tensor) -> Tensor:
        result: Tensor = convolution(left, right, None, steps, begins if symmetric else 0, gaps, group)
        return result

    shift = None if bias is None else carried(bias).reshape([-1, *[1] * spatial])
    return exact_product(image, kernel, kernel.detach().abs().flatten(1).sum(1), product, shift)


def _padding(
    size: Sequence[int],
    kernel: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
    steps: Sequence[int],
    gaps: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis."""
    spatial = len(size)
    if auto_pad in ("NOTSET", "VALID", ""):
        given = list(pads or []) if auto_pad != "VALID" else []
        given = given or [0] * (2 * spatial)
        return given[:spatial], given[spatial:]
    begins, ends = [], []
    for extent, taps, step, gap in zip(size, kernel, steps, gaps, strict=True):
        total = max(0, (-(-extent // step) - 1) * step + (taps - 1) * gap + 1 - extent)
        less, more = total // 2, total - total // 2
        begins.append(less if auto_pad == "SAME_UPPER" else more)
        ends.append(more if auto_pad == "SAME_UPPER" else less)
    return begins, ends


def _scalar(parameter: Tensor) -> Tensor:
    """A per-tensor parameter without dimensions; others as they are (they stand along the last axis)."""
    return parameter.reshape(()) if parameter.numel() == 1 else parameter


def _rows(parameter: Tensor) -> Tensor:
    """A per-row parameter as a column, a per-tensor one without dimensions."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter.unsqueeze(-1) if parameter.ndim == 1 else parameter
