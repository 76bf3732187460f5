"""Every matrix-vector op as one bilinear product: the table of ops, and those of floats. No law lives here."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from faultsim.engine.inference.integer_products import given, integer_conv, integer_matmul, per_channel
from faultsim.engine.inference.product import Product, conv_shape, matrix_shape, same, times
from faultsim.model.nodes import Node
from faultsim.model.ops.conv import Conv, ConvTranspose
from faultsim.model.values import Value, carried

Builder = Callable[[Node, list[Value], int], Product]


def _working(tensor: Tensor) -> Tensor:
    """A float tensor wide enough to compute with."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _conv(node: Node, arguments: list[Value], position: int) -> Product:
    x, weight, bias = carried(arguments[0]), carried(arguments[1]), given(arguments, 2)  # type: ignore[arg-type]
    transposed = node.op_type == "ConvTranspose"
    function = ConvTranspose if transposed else Conv

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        result: Tensor = function(left, right, None, **node.attributes)
        return result

    def finish(y: Tensor) -> Sequence[Value]:
        return ((y if bias is None else y + per_channel(bias, y.ndim).to(y.dtype)).to(x.dtype),)

    shape = conv_shape(int(node.attributes.get("group", 1)), x.ndim, transposed=transposed)
    return Product(_working(x), _working(weight), shape, multiply, finish, same)


def _gemm(node: Node, arguments: list[Value], position: int) -> Product:
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    turns = bool(node.attributes.get("transA", 0)), bool(node.attributes.get("transB", 0))
    a, b = (carried(one).t() if turn else carried(one) for one, turn in zip(arguments, turns, strict=False))  # type: ignore[arg-type]
    bias = given(arguments, 2)
    left = position == 0
    x, weight = (b, a) if left else (a, b)

    def finish(y: Tensor) -> Sequence[Value]:
        return ((y if bias is None else y + beta * bias).to(x.dtype),)

    return Product(
        _working(x),
        _working(weight),
        matrix_shape(x, weight, left=left),
        times(left=left, gain=alpha),
        finish,
        torch.t if turns[position] else same,
        gain=alpha,
    )


def _matmul(node: Node, arguments: list[Value], position: int) -> Product:
    a, b = carried(arguments[0]), carried(arguments[1])  # type: ignore[arg-type]
    left = position == 0
    x, weight = (b, a) if left else (a, b)

    def finish(y: Tensor) -> Sequence[Value]:
        return (y.to(x.dtype),)

    shape = matrix_shape(x, weight, left=left)
    return Product(_working(x), _working(weight), shape, times(left=left), finish, same)


BUILDERS: dict[str, tuple[Builder, tuple[int, ...]]] = {
    "Conv": (_conv, (1,)),
    "ConvTranspose": (_conv, (1,)),
    "Gemm": (_gemm, (1, 0)),
    "MatMul": (_matmul, (1, 0)),
    "QLinearConv": (integer_conv, (3,)),
    "ConvInteger": (integer_conv, (1,)),
    "QLinearMatMul": (integer_matmul, (3, 0)),
    "MatMulInteger": (integer_matmul, (1, 0)),
    "QGemm": (integer_matmul, (3,)),
    "MatMulIntegerToFloat": (integer_matmul, (1,)),
    "DynamicQuantizeMatMul": (integer_matmul, (1,)),
}
"""By op type: what builds the product, and which inputs may be the stored weight, the likeliest first."""


def build(node: Node, arguments: list[Value], position: int) -> Product:
    """Return the product that *node* computes, its input at *position* being the stored weight."""
    return BUILDERS[node.op_type][0](node, arguments, position)
