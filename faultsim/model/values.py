"""What flows along an edge of the graph, and the ways between ONNX element types, NumPy and torch. No op lives here.

A value is a torch tensor; integer codes of quantized graphs and numbers that torch cannot compute with (int4, float8,
float4, …) travel as `Codes`: a float tensor of the exact numbers with their ONNX element type beside it, so that
straight-through gradients reach the stored codes and no kernel has to know a narrow type.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from faultsim.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Numbers of a narrow element type carried in a float tensor.

    Attributes:
        values: Their exact values, float32 (float64 for 32-bit codes), any shape.
        elem_type: ``onnx.TensorProto`` element type, such as ``TensorProto.INT8``.
    """

    values: Tensor
    elem_type: int


Value: TypeAlias = "Tensor | Codes | NDArray[Any] | list[Any] | None"
"""A tensor, codes, a NumPy object array of strings, a sequence, or an absent optional."""

TORCH_DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.BOOL: torch.bool,
    TensorProto.COMPLEX64: torch.complex64,
    TensorProto.COMPLEX128: torch.complex128,
}
ELEM_TYPES: dict[torch.dtype, int] = {dtype: elem for elem, dtype in TORCH_DTYPES.items()}

CODE_BITS: dict[int, int] = {
    TensorProto.INT2: 2,
    TensorProto.UINT2: 2,
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.INT8: 8,
    TensorProto.UINT8: 8,
    TensorProto.INT16: 16,
    TensorProto.UINT16: 16,
    TensorProto.INT32: 32,
    TensorProto.UINT32: 32,
}
"""Integer types that can be quantized codes, with their bits."""

SIGNED = {TensorProto.INT2, TensorProto.INT4, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32}
FLOAT8 = {
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    TensorProto.FLOAT4E2M1: ml_dtypes.float4_e2m1fn,
    TensorProto.FLOAT8E8M0: ml_dtypes.float8_e8m0fnu,
}
"""Floats below 16 bits, with the NumPy type that holds them."""


def code_range(elem_type: int) -> tuple[int, int]:
    """Return the least and the greatest code of an integer element type."""
    bits = CODE_BITS[elem_type]
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if elem_type in SIGNED else (0, (1 << bits) - 1)


def carrier_dtype(elem_type: int) -> torch.dtype:
    """Return the float type that carries codes of *elem_type* exactly."""
    return torch.float64 if CODE_BITS.get(elem_type, 0) > 16 else torch.float32


def elem_type_of(value: Tensor | Codes | NDArray[Any]) -> int:
    """Return the ONNX element type of a tensor-like value."""
    if isinstance(value, Codes):
        return value.elem_type
    if isinstance(value, Tensor):
        return ELEM_TYPES[value.dtype]
    return int(helper.np_dtype_to_tensor_dtype(value.dtype)) if value.dtype.kind not in "OUS" else TensorProto.STRING


def concrete(value: Value) -> Value:
    """Return codes as a tensor of their real integer type (no gradient passes); any other value as it is.

    Types that torch does not have (int4, float8, …) stay `Codes`.
    """
    if isinstance(value, Codes) and value.elem_type in TORCH_DTYPES:
        return value.values.detach().to(torch.int64).to(TORCH_DTYPES[value.elem_type])
    return value


def carried(value: Tensor | Codes) -> Tensor:
    """Return the numbers of codes, or of an integer tensor, as a float tensor that carries them exactly."""
    if isinstance(value, Codes):
        return value.values
    if value.is_floating_point():
        return value
    return value.to(carrier_dtype(ELEM_TYPES[value.dtype]))


def moved(value: Value, device: torch.device) -> Value:
    """Return a value on *device*."""
    if isinstance(value, Codes):
        return Codes(value.values.to(device), value.elem_type)
    return value.to(device) if isinstance(value, Tensor) else value


def from_numpy(array: NDArray[Any], *, elem_type: int | None = None, codes: bool = False) -> Value:
    """Return a NumPy array as a graph value, copied so that no memory is shared.

    Args:
        array: Any numeric, bool or string array, of an ml_dtypes type too.
        elem_type: Its ONNX element type, where the NumPy type does not tell.
        codes: Whether an integer array becomes `Codes`.
    """
    if array.dtype.kind in "OUS":
        return array.astype(object)
    elem = int(helper.np_dtype_to_tensor_dtype(array.dtype)) if elem_type is None else elem_type
    if elem not in TORCH_DTYPES or (codes and elem in CODE_BITS):
        carrier = np.float64 if CODE_BITS.get(elem, 0) > 16 else np.float32
        return Codes(torch.from_numpy(np.ascontiguousarray(array.astype(carrier))).reshape(array.shape), elem)
    if elem == TensorProto.BFLOAT16:
        bits = np.ascontiguousarray(array).view(np.int16).copy()
        return torch.from_numpy(bits).view(torch.bfloat16).reshape(array.shape)
    return torch.from_numpy(np.array(array, order="C", copy=True)).reshape(array.shape)


def to_numpy(value: Value) -> Any:
    """Return a graph value as NumPy has it: arrays in their real element type, lists for sequences."""
    if isinstance(value, list):
        return [to_numpy(item) for item in value]
    if isinstance(value, Codes):
        array = value.values.detach().cpu().numpy()
        return array.astype(helper.tensor_dtype_to_np_dtype(value.elem_type))
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:
            return value.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return value.numpy()
    return value


def from_proto(tensor: onnx.TensorProto, *, codes: bool = False) -> Value:
    """Return an (in-memory) TensorProto as a graph value; *codes* as in `from_numpy`."""
    array = onnx.numpy_helper.to_array(tensor)
    if tensor.data_type == TensorProto.STRING:
        return np.array([s.decode() if isinstance(s, bytes) else s for s in array.reshape(-1)], dtype=object).reshape(
            array.shape
        )
    return from_numpy(array, elem_type=tensor.data_type, codes=codes)


def placed(value: Value, device: torch.device) -> Value:
    """Return a constant where torch computes; small integers, which are shapes, stay on the CPU."""
    if device.type == "cpu":
        return value
    if isinstance(value, Codes):
        return Codes(value.values.to(device), value.elem_type)
    if isinstance(value, Tensor) and (value.is_floating_point() or value.numel() > 64):
        return value.to(device)
    return value


def tensor_of(value: Value) -> Tensor:
    """Return an output as a tensor.

    Raises:
        ModelError: If it is a sequence or text.
    """
    tensor = value.values if isinstance(value, Codes) else value
    if not isinstance(tensor, Tensor):
        raise ModelError("an output of the graph is a sequence or text; a loss needs tensors")
    return tensor
