"""Matrix products and look-ups of onnxruntime's quantizers (com.microsoft).

QGemm, MatMulIntegerToFloat, DynamicQuantizeMatMul, MatMulNBits, GatherBlockQuantized.
"""

import torch
from onnx import TensorProto
from torch import Tensor

from faultsim.model.ops._codes import code_type, requantize
from faultsim.model.ops.gather import wrapped
from faultsim.model.ops.qlinear import integer_matmul
from faultsim.model.ops.quantize import DynamicQuantizeLinear
from faultsim.model.ops.registry import op
from faultsim.model.values import CODE_BITS, Codes, carried

MICROSOFT = "com.microsoft"
Number = Tensor | Codes


@op("QGemm", domain=MICROSOFT, codes="aware")
def QGemm(
    a: Number,
    a_scale: Number,
    a_zero_point: Number,
    b: Number,
    b_scale: Number,
    b_zero_point: Number,
    c: Number | None = None,
    y_scale: Number | None = None,
    y_zero_point: Number | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Number:
    """Codes of ``alpha * A @ B + C`` with an int32 C; floats if no output scale is given (QGemm)."""
    left, right = (_transposed(a) if transA else a), (_transposed(b) if transB else b)
    total = integer_matmul(left, right, a_zero_point, b_zero_point, c)
    multiplier = alpha * carried(a_scale).float() * carried(b_scale).float()
    if y_scale is None:
        return total.float() * multiplier
    multiplier = multiplier / carried(y_scale).float()
    return requantize(total, multiplier, y_zero_point, code_type(y_zero_point))


@op("MatMulIntegerToFloat", domain=MICROSOFT, codes="aware")
def MatMulIntegerToFloat(
    a: Number,
    b: Number,
    a_scale: Number,
    b_scale: Number,
    a_zero_point: Number | None = None,
    b_zero_point: Number | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Floats of an exact integer product, plus a bias (com.microsoft MatMulIntegerToFloat)."""
    total = integer_matmul(a, b, a_zero_point, b_zero_point)
    real = total.float() * (carried(a_scale).float() * carried(b_scale).float())
    return real if bias is None else real + bias


@op("DynamicQuantizeMatMul", domain=MICROSOFT, codes="aware")
def DynamicQuantizeMatMul(
    a: Tensor, b: Number, b_scale: Number, b_zero_point: Number | None = None, bias: Tensor | None = None
) -> Tensor:
    """Product of floats, quantized on the fly, with integer weights (com.microsoft DynamicQuantizeMatMul)."""
    codes, scale, zero = DynamicQuantizeLinear(a)
    return MatMulIntegerToFloat(codes, b, scale, b_scale, zero, b_zero_point, bias)


@op("MatMulNBits", domain=MICROSOFT, codes="aware")
def MatMulNBits(
    a: Tensor,
    b: Number,
    scales: Tensor,
    zero_points: Number | None = None,
    group_index: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    K: int,
    N: int,
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
) -> Tensor:
    """Product with weights packed in blocks along K, several a byte (com.microsoft MatMulNBits).

    Codes and zero points that come unpacked, one number each (`packed.unpack`), have a gradient; bytes have none.
    """
    blocks = -(-K // block_size)
    codes = _numbers(b, bits).reshape(N, blocks, block_size)
    scale = scales.reshape(N, blocks, 1)
    if zero_points is None:
        zero = torch.full((), float(1 << (bits - 1)), device=scale.device)
    elif isinstance(zero_points, Tensor) and zero_points.is_floating_point():
        zero = zero_points.reshape(N, blocks, 1)
    else:
        zero = _numbers(zero_points, bits).reshape(N, -1)[:, :blocks].unsqueeze(-1)
    if group_index is None:
        weight = ((codes - zero) * scale.float()).reshape(N, -1)[:, :K]
    else:
        group = concrete_index(group_index)[:K]
        flat, zero = codes.reshape(N, -1)[:, :K], zero.expand(N, blocks, 1)
        weight = (flat - zero[:, group, 0]) * scale.float()[:, group, 0]
    product = torch.matmul(a.float(), weight.T).to(a.dtype)
    return product if bias is None else product + bias


@op("GatherBlockQuantized", domain=MICROSOFT, codes="aware")
def GatherBlockQuantized(
    data: Number,
    indices: Tensor,
    scales: Tensor,
    zero_points: Number | None = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
    default_zero: int = 0,
) -> Tensor:
    """Rows of a table quantized in blocks, several codes a byte (com.microsoft GatherBlockQuantized).

    *default_zero* is no attribute of the file: what stands for 0 where bytes without zero points were unpacked.
    """
    codes = _numbers(data, bits)
    axis = quantize_axis % codes.ndim
    scale = scales.float().repeat_interleave(block_size, axis).narrow(axis, 0, codes.shape[axis])
    if zero_points is None:
        codes = codes - ((1 << (bits - 1)) if code_type(data) == TensorProto.UINT8 else default_zero)
    else:
        zero = _numbers(zero_points, bits)
        codes = codes - zero.repeat_interleave(block_size, axis).narrow(axis, 0, codes.shape[axis])
    gather = gather_axis % codes.ndim
    index = wrapped(concrete_index(indices), codes.shape[gather], codes.device)
    rows = (codes * scale).index_select(gather, index.reshape(-1))
    return rows.reshape(*codes.shape[:gather], *index.shape, *codes.shape[gather + 1 :]).to(scales.dtype)


def _numbers(given: Number, bits: int) -> Tensor:
    """Return codes of so many bits, unpacked where their type is wider."""
    return unpacked(given, bits) if CODE_BITS[code_type(given)] > bits else carried(given)


def unpacked(packed: Number, bits: int) -> Tensor:
    """Return the codes of packed bytes, the least significant first, along the last axis."""
    data = carried(packed).detach().float()
    if bits == 8:
        return data
    base = float(1 << bits)
    digits = [torch.remainder(torch.floor(data / base**i), base) for i in range(8 // bits)]
    return torch.stack(digits, -1).flatten(-2)


def concrete_index(index: Number) -> Tensor:
    """Return an index as int64."""
    return carried(index).detach().to(torch.int64)


def _transposed(x: Number) -> Number:
    return Codes(x.values.mT, x.elem_type) if isinstance(x, Codes) else x.mT
