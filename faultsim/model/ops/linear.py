"""Products of matrices: MatMul, Gemm, Einsum, Det. Quantized products live with quantization."""

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import HALVES, modular
from faultsim.model.ops.registry import op


def _integer_matmul(a: Tensor, b: Tensor) -> Tensor:
    if a.device.type == "cpu":
        return torch.matmul(a, b)
    # CUDA multiplies no integer matrices: outer products summed, exact modulo 2^n
    left = a.unsqueeze(0) if a.ndim == 1 else a
    right = b.unsqueeze(-1) if b.ndim == 1 else b
    product = (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(-2, dtype=a.dtype)
    product = product.squeeze(-1) if b.ndim == 1 else product
    return product.squeeze(-1 if b.ndim == 1 else -2) if a.ndim == 1 else product


@op("MatMul")
@modular
def MatMul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product as numpy.matmul has it (ONNX MatMul-13)."""
    return torch.matmul(a, b) if a.is_floating_point() else _integer_matmul(a, b)


@op("Gemm")
@modular
def Gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Alpha · A' B' + beta · C, A' and B' transposed where asked (ONNX Gemm-13)."""
    if transB and not transA and c is not None and c.ndim == 1 and alpha == beta == 1.0 and a.is_floating_point():
        return functional.linear(a, b, c)
    left = a.t() if transA else a
    right = b.t() if transB else b
    if not a.is_floating_point():
        product = _integer_matmul(left, right) * int(alpha)
        return product if c is None else product + c * int(beta)
    if c is not None:
        return torch.addmm(c, left, right, beta=beta, alpha=alpha)
    product = torch.mm(left, right)
    return product if alpha == 1.0 else product * alpha


@op("Einsum")
@modular
def Einsum(*operands: Tensor, equation: str) -> Tensor:
    """The Einstein sum that *equation* writes (ONNX Einsum-12)."""
    if operands[0].is_floating_point():
        return torch.einsum(equation, *operands)
    if operands[0].device.type == "cpu":
        return torch.einsum(equation, *operands)
    return torch.einsum(equation, *(o.double() for o in operands)).to(operands[0].dtype)


@op("Det")
def Det(x: Tensor) -> Tensor:
    """Determinants of the last two axes (ONNX Det-22)."""
    result: Tensor = torch.linalg.det(x.float() if x.dtype in HALVES else x)
    return result.to(x.dtype)
