"""What the graph declares of inputs, outputs and codes, and whether arrays and axes go with it. Nothing runs here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from faultsim.data.spec import InputSpec, show_shape
from faultsim.errors import DataError, ModelError
from faultsim.model import proto as files
from faultsim.model.values import code_range

Array = NDArray[Any]


def input_specs(proto: ModelProto, upper: Mapping[str, int] | None = None) -> tuple[InputSpec, ...]:
    """Return what the main graph asks for: its inputs that no initializer fills, samples taken to come first.

    Args:
        proto: The model.
        upper: Rows of the table that an input indexes, by input (`tables.table_rows`).
    """
    filled = files.initializer_names(proto.graph)
    specs = []
    for value in proto.graph.input:
        if value.name in filled:
            continue
        if value.type.WhichOneof("value") != "tensor_type":
            raise ModelError(
                f"input {value.name!r} is a sequence or an optional; faultsim feeds tensors: wrap the model"
            )
        tensor = value.type.tensor_type
        dims = _dims(value)
        dtype = (
            np.dtype(object)
            if tensor.elem_type == onnx.TensorProto.STRING
            else np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        )
        rows = (upper or {}).get(value.name) if dtype.kind in "iu" else None
        specs.append(InputSpec(value.name, dtype, dims, batch_axis=0 if dims else None, upper=rows))
    return tuple(specs)


def output_shapes(proto: ModelProto) -> dict[str, tuple[int | str | None, ...]]:
    """Return the declared shapes of the graph's outputs by name, in order; empty for one that declares none."""
    return {value.name: _dims(value) if value.type.HasField("tensor_type") else () for value in proto.graph.output}


def _dims(value: onnx.ValueInfoProto) -> tuple[int | str | None, ...]:
    dims = value.type.tensor_type.shape.dim
    # A negative size means "any", as onnxruntime reads it.
    return tuple((d.dim_value if d.dim_value >= 0 else None) if d.HasField("dim_value") else (d.dim_param or None)
                 for d in dims)  # fmt: skip


def check_feed(spec: InputSpec, array: Array, model: str) -> None:
    """Check the type and, but for the batch axis, the sizes; a graph that declares no sizes takes any."""
    if not fits(spec, array, spec.batch_axis):
        array = np.asarray(array)
        raise DataError(
            f"{model} takes {spec}; got {array.dtype} of shape {show_shape(array.shape)}: convert or reshape the data"
        )


def fits(spec: InputSpec, array: Array, free: int | None) -> bool:
    """Whether an array is of the declared type and sizes; the size along axis *free* may be any."""
    array = np.asarray(array)
    text = spec.dtype.kind == "O" and array.dtype.kind in "OUS"
    declared = [size if isinstance(size, int) and i != free else None for i, size in enumerate(spec.shape)]
    sizes = not spec.shape or (
        array.ndim == len(declared) and all(s in (None, n) for s, n in zip(declared, array.shape, strict=True))
    )
    return sizes and (array.dtype == spec.dtype or text)


def check_axes(
    specs: Sequence[InputSpec],
    outputs: Mapping[str, tuple[int | str | None, ...]],
    given: Mapping[str, int | None],
    model: str,
) -> None:
    """Refuse axes of samples that the graph does not have.

    Raises:
        ModelError: With the names, or the axes, that there are.
    """
    ranks = {spec.name: len(spec.shape) for spec in specs}
    for name, axis in given.items():
        if name not in ranks and name not in outputs:
            raise ModelError(
                f"{model}: a batch axis is given for {name!r}; its inputs are {', '.join(ranks)}, "
                f"its outputs {', '.join(outputs)}"
            )
        if axis is None and name not in ranks:
            raise ModelError(f"{model}: output {name!r} needs an axis that counts the samples; give a number")
        rank = ranks[name] if name in ranks else len(outputs[name]) or None  # an output may declare no shape
        if axis is not None and (axis < 0 or (rank is not None and axis >= rank)):
            there = f"give one of 0…{rank - 1}" if rank else "it is a single number"
            raise ModelError(f"{model}: {name!r} has no axis {axis}; {there}")


def check_codes(name: str, array: Array, elem_type: int) -> None:
    """Refuse new numbers that an integer tensor cannot hold.

    Raises:
        ModelError: If one is between two codes or out of range.
    """
    low, high = code_range(elem_type)
    wide = np.asarray(array, dtype=np.float64)
    if np.any(wide != np.rint(wide)) or np.any(wide < low) or np.any(wide > high):
        raise ModelError(
            f"new numbers for {name!r} are not all codes of {onnx.TensorProto.DataType.Name(elem_type).lower()} "
            f"({low} to {high}); "
            "an analog corruption of an integer model cannot be written as ONNX: run it in faultsim"
        )
