"""A float graph made into the quantized one that a device stores: plain post-training quantization. No training here.

int8 is onnxruntime's own static quantizer. int4 is of the weights alone, for which it has no tool that knows
convolutions: int4 initializers behind DequantizeLinear, as opset 21 and later have them.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from faultsim.errors import ModelError, OptionError
from faultsim.harden.quantize_apart import free, put_apart
from faultsim.model import Model
from faultsim.model.export import no_warnings_logged
from faultsim.model.roles import QUANTIZED_OPS

Array = NDArray[Any]
Quantize = Literal["int8", "int4"]
KINDS: Final = ("int8", "int4")
LEAST_OPSET: Final = {"int8": 13, "int4": 21}
"""Scales by channel came with opset 13, int4 with 21."""
LEAST_IR: Final = {"int8": 8, "int4": 10}
CALIBRATED: Final = 512
"""Most training samples that the ranges of activations are taken from."""
QUANTIZED: Final = QUANTIZED_OPS | {"DynamicQuantizeLinear", "Quant", "IntQuant", "BipolarQuant"}
CODES: Final = frozenset({TensorProto.INT8, TensorProto.INT4})
HIGHEST: Final = 7
"""Of the symmetric int4 range."""
CLIPS: Final = np.linspace(1.0, 0.4, 25)
"""Parts of the largest weight that are tried as the end of the int4 range."""


class Quantized(NamedTuple):
    """A quantized graph.

    Attributes:
        proto: The graph.
        said: What was done, one sentence.
        floats: Weights that stayed float.
    """

    proto: ModelProto
    said: str
    floats: tuple[str, ...]


def quantize(model: Model, kind: Quantize, batches: Iterator[Mapping[str, Array]], *, samples: int) -> Quantized:
    """Return *model* with its weights as int8 or int4 codes, symmetric, a scale for every output channel.

    int8 quantizes activations too (int8, their least and largest value on the batches) and biases (int32), each value
    between QuantizeLinear and DequantizeLinear. int4 leaves activations and biases float; the end of every channel's
    range is the one of least squared error.

    Args:
        model: A float network.
        kind: ``int8`` or ``int4``.
        batches: Inputs, for the ranges of activations; int4 needs none.
        samples: How many samples they hold, to be told.

    Raises:
        OptionError: If the model is quantized already, or no such kind is known.
        ModelError: If it holds no weight that can be quantized, or its opset cannot be raised as far as needed.
    """
    if kind not in KINDS:
        raise OptionError(f"quantize is {kind!r}, it must be 'int8' or 'int4'")
    held = sorted({node.op_type for node in model.program.graph.nodes} & QUANTIZED)
    if held:
        raise OptionError(
            f"--quantize {kind}: {model.name} is quantized already (it holds {', '.join(held)}); "
            "leave --quantize out, and its own codes are hardened"
        )
    proto = _raised(model, kind)
    weights = {w.name: w for w in _weights(proto)}
    if not weights:
        raise ModelError(
            f"{model.name}: no Conv, Gemm or MatMul reads a float32 weight from an initializer, "
            f"so that --quantize {kind} has nothing to do; give a float32 model with its weights in the file"
        )
    if kind == "int4":
        done = _int4(proto, weights)
        said = "int4 weights by output channel, float activations and biases; plain rounding, no training"
    else:
        done = _int8(proto, batches, model.name)
        said = (
            "int8 weights by output channel, int8 activations, int32 biases: onnxruntime's static quantizer, "
            f"calibrated on {samples} training samples"
        )
    done.producer_name = "faultsim"
    left = {tensor.name for tensor in done.graph.initializer if tensor.data_type not in CODES}
    return Quantized(done, said, tuple(site.name for site in model.select(("weight",)) if site.name in left))


class _Weight(NamedTuple):
    """An initializer that a node of the main graph multiplies with, and its axis of output channels."""

    name: str
    axis: int


def _weights(proto: ModelProto) -> Iterator[_Weight]:
    floats = {t.name: t for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT}
    seen: set[str] = set()
    for node in proto.graph.node:
        if node.domain not in ("", "ai.onnx") or len(node.input) < 2:
            continue
        tensor = floats.get(node.input[1])
        axis = None if tensor is None else _axis(node, len(tensor.dims))
        if tensor is not None and axis is not None and tensor.name not in seen and min(tensor.dims, default=0) > 0:
            seen.add(tensor.name)
            yield _Weight(tensor.name, axis)


def _axis(node: NodeProto, rank: int) -> int | None:
    """The axis of output channels of the second input; None where the node is of no kind that is quantized."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return rank - 1 if node.op_type == "MatMul" and rank >= 2 else None


def _raised(model: Model, kind: Quantize) -> ModelProto:
    """A copy of the graph at the least opset that knows the codes, lifted by onnx's version converter where needed."""
    proto = ModelProto()
    proto.CopyFrom(model.as_deployed.proto)
    least = LEAST_OPSET[kind]
    if model.opset < least:
        try:
            proto = version_converter.convert_version(proto, least)
        except Exception as error:  # the converter raises RuntimeError, ConvertError, IndexError and more
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            raise ModelError(
                f"{model.name}: --quantize {kind} needs opset {least} or later, the model has {model.opset} and "
                f"onnx.version_converter cannot lift it ({reason}); export the model at opset {least}"
            ) from None
    proto.ir_version = max(proto.ir_version, LEAST_IR[kind])
    return proto


def _int4(proto: ModelProto, weights: Mapping[str, _Weight]) -> ModelProto:
    """Put int4 codes and a DequantizeLinear in the place of every weight; whoever read the weight reads that."""
    kept, nodes = [], []
    taken = {t.name for t in proto.graph.initializer} | {o for n in proto.graph.node for o in n.output}
    for tensor in proto.graph.initializer:
        weight = weights.get(tensor.name)
        if weight is None:
            kept.append(tensor)
            continue
        codes, scale = _codes(numpy_helper.to_array(tensor), weight.axis)
        name = {end: free(f"{tensor.name}_{end}", taken) for end in ("int4", "scale")}
        stored = helper.make_tensor(name["int4"], TensorProto.INT4, codes.shape, codes.reshape(-1).tolist())
        kept += [stored, numpy_helper.from_array(scale, name["scale"])]
        nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [name["int4"], name["scale"]],
                [tensor.name],
                f"{tensor.name}_DequantizeLinear",
                axis=weight.axis,
            )
        )
    listed = [value for value in proto.graph.input if value.name not in weights]  # IR 3 lists initializers as inputs
    old = list(proto.graph.node)
    for field, fresh in (("initializer", kept), ("node", nodes + old), ("input", listed)):
        copies = [type(one).FromString(one.SerializeToString()) for one in fresh]
        proto.graph.ClearField(field)
        getattr(proto.graph, field).extend(copies)
    return proto


def _codes(array: Array, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric 4-bit codes and their scale by channel, of the clipping with the least squared error."""
    rows = np.moveaxis(array.astype(np.float64), axis, 0)
    flat = rows.reshape(len(rows), -1)
    top = np.abs(flat).max(1)
    top[top == 0] = 1.0
    best, scale = np.full(len(flat), np.inf), top / HIGHEST
    for part in CLIPS:
        step = np.maximum(part * top / HIGHEST, np.finfo(np.float32).tiny)
        error = np.square(np.clip(np.rint(flat / step[:, None]), -HIGHEST, HIGHEST) * step[:, None] - flat).sum(1)
        scale = np.where(error < best, step, scale)
        best = np.minimum(error, best)
    steps = scale.astype(np.float32)
    codes = np.clip(np.rint(flat / steps.astype(np.float64)[:, None]), -HIGHEST, HIGHEST).astype(np.int8)
    return np.ascontiguousarray(np.moveaxis(codes.reshape(rows.shape), 0, axis)), steps


def _int8(proto: ModelProto, batches: Iterator[Mapping[str, Array]], name: str) -> ModelProto:
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ModelError(f"--quantize int8 needs onnxruntime's quantizer ({error}); install onnxruntime anew") from None

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        """Hands on the training batches."""

        def get_next(self) -> dict[str, Array] | None:
            """Return the next one, None at the end."""
            found = next(batches, None)
            return None if found is None else dict(found)

    try:
        with tempfile.TemporaryDirectory() as folder, no_warnings_logged():
            source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save_model(proto, source)
            if any(node.op_type == "BatchNormalization" for node in proto.graph.node):  # folded, as a deployed net is
                folded = Path(folder) / "folded.onnx"
                quant_pre_process(source, folded, skip_symbolic_shape=True)
                source = folded
            apart = onnx.load_model(source)
            put_apart(apart, _axis)
            onnx.save_model(apart, source)
            quantize_static(
                source,
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
            )
            return onnx.load_model(target)
    except Exception as error:  # onnxruntime raises anything from its own types to AssertionError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(
            f"{name}: onnxruntime's quantizer cannot make it int8 ({reason}); quantize it yourself and give that file"
        ) from error
