"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear of ONNX and of onnxruntime's domain.

The arithmetic that other quantized ops share is in `_codes.py`.
"""

import torch
from onnx import TensorProto
from torch import Tensor

from faultsim.model.ops._codes import along, dequantize, quantize_codes
from faultsim.model.ops.registry import op
from faultsim.model.ste import round_ste
from faultsim.model.values import TORCH_DTYPES, Codes, carried, elem_type_of

Number = Tensor | Codes


@op("QuantizeLinear", since=10, codes="aware")
@op("QuantizeLinear", domain="com.microsoft", codes="aware")
def QuantizeLinear(
    x: Number,
    y_scale: Number,
    y_zero_point: Number | None = None,
    *,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
) -> Codes:
    """Codes of floats (QuantizeLinear-10 to -25: per tensor, per axis, blocked; integers, float8, float4)."""
    elem = output_dtype or TensorProto.UINT8
    if y_zero_point is not None:
        elem = elem_type_of(y_zero_point)
    values, scale = carried(x), carried(y_scale)
    if precision and TORCH_DTYPES[precision] != torch.float32:
        exact = TORCH_DTYPES[precision]
        # The quotient rounds to the asked precision; everything after it is exact in float32.
        values, scale = values.to(exact), scale.to(exact)
        scale = along(scale, values.shape, axis, block_size)
        values, scale = (values / scale).float(), torch.ones((), device=values.device)
    else:
        values, scale = values.float(), along(scale.float(), values.shape, axis, block_size)
    zero = None if y_zero_point is None else along(carried(y_zero_point), values.shape, axis, block_size)
    return quantize_codes(values, scale, zero, elem, saturating=bool(saturate))


@op("DequantizeLinear", since=10, codes="aware")
@op("DequantizeLinear", domain="com.microsoft", codes="aware")
def DequantizeLinear(
    x: Number,
    x_scale: Number,
    x_zero_point: Number | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """Floats of codes (DequantizeLinear-10 to -25)."""
    scale = carried(x_scale)
    wanted = TORCH_DTYPES[output_dtype] if output_dtype else scale.dtype
    shape = carried(x).shape
    zero = None if x_zero_point is None else along(carried(x_zero_point), shape, axis, block_size)
    result = dequantize(x, along(scale, shape, axis, block_size), zero)
    return result if result.dtype == wanted else result.to(wanted)


@op("DynamicQuantizeLinear", since=11, codes="aware")
def DynamicQuantizeLinear(x: Tensor) -> tuple[Codes, Tensor, Codes]:
    """Codes, scale and zero point that fit the range of x and zero into uint8 (DynamicQuantizeLinear-11)."""
    # onnxruntime's search for the range steps over NaN (but for the last few elements); zero is in it anyway.
    seen = torch.nan_to_num(x, nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    low = torch.clamp(seen.amin(), max=0) if x.numel() else x.new_zeros(())
    high = torch.clamp(seen.amax(), min=0) if x.numel() else x.new_zeros(())
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    # inf / inf, where the range is infinite below, ends at the upper bound.
    zero = round_ste(torch.clamp(torch.nan_to_num(-low / scale, nan=255.0), 0, 255))
    codes = quantize_codes(x, scale, zero, TensorProto.UINT8)
    return codes, scale, Codes(zero, TensorProto.UINT8)
