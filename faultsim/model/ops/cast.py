"""Changes of the element type: Cast, CastLike, BitCast. Quantization with a scale lives in `quantize.py`."""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype
from torch import Tensor

from faultsim.model.ops._codes import FLOAT_KINDS, round_to_float
from faultsim.model.ops.registry import op
from faultsim.model.ste import replace_ste
from faultsim.model.values import (
    CODE_BITS,
    TORCH_DTYPES,
    Codes,
    Value,
    carrier_dtype,
    code_range,
    concrete,
    elem_type_of,
    from_numpy,
    to_numpy,
)

Castable = Tensor | Codes | NDArray[Any]


@op("Cast", codes="aware")
def Cast(x: Castable, *, to: int, saturate: int = 1, round_mode: str = "up") -> Value:
    """*x* in the element type *to* (ONNX Cast-25); straight-through from floats to integers of up to 32 bits.

    Out of range, integers wrap, and floats become what onnxruntime makes of them on x86.
    """
    if isinstance(x, np.ndarray):
        return x if to == TensorProto.STRING else _parsed(x, to, saturate, round_mode)
    if elem_type_of(x) == to:
        return x
    if to == TensorProto.STRING:
        return _printed(x)
    numbers = x.values if isinstance(x, Codes) else x
    if to in FLOAT_KINDS:
        floats = numbers if numbers.is_floating_point() else numbers.double()
        return Codes(round_to_float(floats, to, saturating=bool(saturate)), to)
    if to == TensorProto.FLOAT8E8M0:
        return Codes(replace_ste(numbers.float(), _power_of_two(numbers.float(), bool(saturate), round_mode)), to)
    if to in CODE_BITS and (to not in TORCH_DTYPES or (torch.is_grad_enabled() and numbers.requires_grad)):
        return _codes(numbers, to)
    dtype = TORCH_DTYPES[to]
    if isinstance(x, Codes) and x.elem_type in CODE_BITS and not (dtype.is_floating_point or dtype == torch.bool):
        return numbers.to(torch.int64).to(dtype)
    return _to_integer(numbers, dtype) if _float_to_integer(numbers, dtype) else numbers.to(dtype)


@op("CastLike", codes="aware")
def CastLike(x: Castable, like: Castable, *, saturate: int = 1, round_mode: str = "up") -> Value:
    """*x* in the element type of *like* (ONNX CastLike-25)."""
    return Cast(x, to=elem_type_of(like), saturate=saturate, round_mode=round_mode)


@op("BitCast", codes="aware")
def BitCast(x: Tensor | Codes, *, to: int) -> Value:
    """The same bits read as the element type *to* of the same width (ONNX BitCast-26)."""
    whole = concrete(x)
    if isinstance(whole, Tensor) and to in TORCH_DTYPES:
        return whole.view(TORCH_DTYPES[to])
    device = x.values.device if isinstance(x, Codes) else x.device
    bits = to_numpy(whole).view(np.uint8)
    if CODE_BITS.get(to, 8) < 8:
        bits = bits & ((1 << CODE_BITS[to]) - 1)
    read = from_numpy(bits.view(tensor_dtype_to_np_dtype(to)), elem_type=to)
    return Codes(read.values.to(device), to) if isinstance(read, Codes) else cast(Tensor, read).to(device)


def _float_to_integer(x: Tensor, dtype: torch.dtype) -> bool:
    return x.is_floating_point() and not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def _to_integer(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Truncate as an x86 does: out of range gives the least int32 (int64), then its low bits."""
    if not x.is_cuda or dtype in (torch.uint32, torch.uint64):
        return x.to(dtype)
    wide = torch.int64 if dtype == torch.int64 else torch.int32
    least = torch.iinfo(wide).min
    return torch.where(x.abs() < -float(least), x.to(wide), least).to(dtype)


def _codes(numbers: Tensor, to: int) -> Codes:
    low, high = code_range(to)
    carrier = carrier_dtype(to)
    data = numbers.detach()
    if to in TORCH_DTYPES:
        whole = _to_integer(data, TORCH_DTYPES[to]) if data.is_floating_point() else data.to(TORCH_DTYPES[to])
        return Codes(replace_ste(numbers.to(carrier), whole.to(carrier)), to)
    if data.is_floating_point():  # onnxruntime rounds half away from zero before it drops bits
        data = _to_integer(torch.trunc(data + torch.copysign(torch.full_like(data, 0.5), data)), torch.int32)
    span = high - low + 1
    wrapped = torch.remainder(data.to(torch.int64) - low, span) + low
    return Codes(replace_ste(numbers.to(carrier), wrapped.to(carrier)), to)


def _power_of_two(x: Tensor, saturating: bool, round_mode: str) -> Tensor:
    """The number of the format E8M0 (powers of two from 2^-127 to 2^127) for each float32."""
    parts = torch.frexp(x.detach().abs().double())
    exponent = parts.exponent - 1  # |x| = (2 mantissa) 2^exponent, 1 <= 2 mantissa < 2
    if round_mode == "up":
        exponent = exponent + (parts.mantissa > 0.5).to(exponent.dtype)
    elif round_mode == "nearest":
        exponent = exponent + (parts.mantissa >= 0.75).to(exponent.dtype)
    exponent = torch.where(x == 0, -128, exponent)
    result = torch.exp2(exponent.clamp(-127, 127).double())
    if saturating:
        result = torch.where(torch.isinf(x), 2.0**127, result)
    else:
        result = torch.where((exponent > 127) | (exponent < -127) | torch.isinf(x), torch.nan, result)
    return torch.where(torch.isnan(x), torch.nan, result).float()


def _parsed(texts: NDArray[Any], to: int, saturate: int, round_mode: str) -> Value:
    dtype = TORCH_DTYPES.get(to, torch.float32)
    words = [str(t) for t in texts.reshape(-1)]
    if dtype.is_floating_point or dtype == torch.bool:
        numbers = torch.tensor([float(w) for w in words], dtype=torch.float64)
        return Cast(numbers.reshape(texts.shape), to=to, saturate=saturate, round_mode=round_mode)
    whole = np.array([_whole(w) for w in words], dtype=np.uint64 if dtype == torch.uint64 else np.int64)
    return torch.from_numpy(whole.reshape(texts.shape)).to(dtype)


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        return int(float(word))


def _printed(x: Tensor | Codes) -> NDArray[Any]:
    numbers = x.values if isinstance(x, Codes) else x
    integers = isinstance(x, Codes) and x.elem_type in CODE_BITS
    words = []
    for number in numbers.detach().reshape(-1).tolist():
        if integers or isinstance(number, int):
            words.append(str(int(number)))
        elif number != number:
            words.append("NaN")
        elif number in (float("inf"), float("-inf")):
            words.append("INF" if number > 0 else "-INF")
        else:
            words.append(f"{number:.8g}")  # as onnxruntime prints, doubles too
    return np.array(words, dtype=object).reshape(tuple(numbers.shape))
