"""The integer matrix-vector ops as products: QLinearConv, ConvInteger, QLinearMatMul and their kin. No law lives here.

Laws act on the accumulator before it is rescaled and rounded to codes; where nothing acts the op itself runs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor

from faultsim.engine.inference.product import Product, conv_shape, matrix_shape, same, times
from faultsim.model.nodes import Node
from faultsim.model.ops._codes import centred, code_type, requantize
from faultsim.model.ops.conv import Conv
from faultsim.model.ops.quantize import DynamicQuantizeLinear
from faultsim.model.values import Codes, Value, carried


def given(arguments: list[Value], position: int) -> Any:
    """Return an input, None where the node leaves it out."""
    return arguments[position] if 0 <= position < len(arguments) else None


def per_channel(bias: Tensor | Codes, rank: int) -> Tensor:
    """Return a bias so that it broadcasts over feature maps of *rank* axes."""
    return carried(bias).reshape(-1, *[1] * (rank - 2))


def integer_conv(node: Node, arguments: list[Value], position: int) -> Product:
    """Return the product of a QLinearConv or ConvInteger node."""
    linear = node.op_type == "QLinearConv"
    x, x_zero, w, w_zero = (given(arguments, i) for i in ((0, 2, 3, 5) if linear else (0, 2, 1, 3)))
    weight_zero = None if w_zero is None or carried(w_zero).numel() == 1 else carried(w_zero)
    codes = carried(w)
    if weight_zero is not None:
        codes = codes - weight_zero.reshape(-1, *[1] * (codes.ndim - 1))
    else:
        codes = centred(w, w_zero)
    image = centred(x, x_zero).float()

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        return Conv(left, right, None, **node.attributes)

    def finish(y: Tensor) -> Sequence[Value]:
        if not linear:
            return (_sums(y),)
        scales = [carried(arguments[i]).float() for i in (1, 4, 6)]  # type: ignore[arg-type]
        multiplier = scales[0] * scales[1] / scales[2]
        bias = given(arguments, 8)
        total = y if bias is None else y + per_channel(bias, y.ndim).to(y.dtype)
        spread = multiplier.reshape(()) if multiplier.numel() == 1 else multiplier.reshape(-1, *[1] * (y.ndim - 2))
        zero: Any = arguments[7]
        return (requantize(total, spread, zero, code_type(zero)),)

    shape = conv_shape(int(node.attributes.get("group", 1)), image.ndim)
    return Product(image, codes.float(), shape, multiply, finish, same, step=torch.ones(()))


_INTEGER_MATMULS = {
    "MatMulInteger": (0, 2, 1, 3),
    "QLinearMatMul": (0, 2, 3, 5),
    "QGemm": (0, 2, 3, 5),
    "MatMulIntegerToFloat": (0, 4, 1, 5),
    "DynamicQuantizeMatMul": (0, -1, 1, 3),
}
"""Where A, its zero point (-1: made on the fly), B and its zero point lie among the inputs."""


def integer_matmul(node: Node, arguments: list[Value], position: int) -> Product:
    """Return the product of a node of an op of `_INTEGER_MATMULS`."""
    a, a_zero, b, b_zero = (given(arguments, i) for i in _INTEGER_MATMULS[node.op_type])
    a_scale: Any = None
    if node.op_type == "DynamicQuantizeMatMul":
        a, a_scale, a_zero = DynamicQuantizeLinear(a)
    turns = [bool(node.attributes.get(name, 0)) for name in ("transA", "transB")]
    rows = None if a_zero is None else _column(carried(a_zero))
    first = (carried(a).mT if turns[0] else carried(a)) - (0 if rows is None else rows)
    second = carried(b).mT if turns[1] else carried(b)
    if b_zero is not None:
        zero = carried(b_zero)
        second = second - (zero.reshape(()) if zero.numel() == 1 else zero)
    left = position == _INTEGER_MATMULS[node.op_type][0]
    x, weight = (second, first) if left else (first, second)
    turn = turns[0 if left else 1]

    def finish(y: Tensor) -> Sequence[Value]:
        return (_finished(node, arguments, y, a_scale),)

    return Product(
        x.float(),
        weight.float(),
        matrix_shape(x, weight, left=left),
        times(left=left),
        finish,
        (lambda tensor: tensor.mT) if turn else same,
        step=torch.ones(()),
    )


def _finished(node: Node, arguments: list[Value], y: Tensor, a_scale: Any) -> Value:
    """The output of an integer matrix product from its accumulator, as the op itself has it."""

    def number(position: int) -> Tensor:
        return carried(arguments[position]).float()  # type: ignore[arg-type]

    if node.op_type == "MatMulInteger":
        return _sums(y)
    if node.op_type == "QLinearMatMul":
        columns = number(4)
        multiplier = _column(number(1)) * (columns.reshape(()) if columns.numel() == 1 else columns)
        zero: Any = arguments[7]
        return requantize(y, multiplier / _column(number(6)), _column(carried(zero)), code_type(zero))
    if node.op_type == "QGemm":
        bias, scale, zero = (given(arguments, i) for i in (6, 7, 8))
        total = y if bias is None else y + carried(bias).to(y.dtype)
        multiplier = float(node.attributes.get("alpha", 1.0)) * number(1) * number(4)
        if scale is None:
            return total * multiplier
        return requantize(total, multiplier / carried(scale).float(), zero, code_type(zero))
    dynamic = node.op_type == "DynamicQuantizeMatMul"
    real = y * ((a_scale if dynamic else number(2)) * number(2 if dynamic else 3))
    bias = given(arguments, 4 if dynamic else 6)
    return real if bias is None else real + bias


def _sums(y: Tensor) -> Codes:
    """An accumulator as int32, which is what its op gives."""
    whole = torch.round(y).double().clamp(-(2.0**31), 2.0**31 - 1)
    return Codes(whole.nan_to_num(), TensorProto.INT32)


def _column(parameter: Tensor) -> Tensor:
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter.unsqueeze(-1) if parameter.ndim == 1 else parameter
