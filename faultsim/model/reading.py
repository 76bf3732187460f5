"""How the graph stores and reads the numbers of one constant: format, real bits, channel axis."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from faultsim.formats import BinaryFormat, IntFormat, parse_format
from faultsim.formats.base import NumberFormat
from faultsim.model.constants import constant, origin
from faultsim.model.graph import Graph, Node, Program
from faultsim.model.layout import axes_behind, axis_before
from faultsim.model.roles import LAST_AXIS, POSITIONS, PRODUCTS
from faultsim.model.values import CODE_BITS, SIGNED, elem_type_of


class Use(NamedTuple):
    """The op that computes with a constant, and as which of its inputs."""

    node: Node
    position: int


class Range(NamedTuple):
    """Real bits of codes in a wider container, at least 2, and whether one may be negative."""

    bits: int
    signed: bool


QUANTIZERS = frozenset({"Quant", "IntQuant", "FloatQuant", "BipolarQuant", "QuantizeLinear"})
ALONG = frozenset({"Identity", "Clip", "Cast", "CastLike", "Transpose"})
"""Ops behind which an axis of a tensor can be told."""


def code_range(chain: list[Node], program: Program, graph: Graph, *, codes: bool) -> Range | None:
    """Return what a Clip on the way keeps of integer codes, None where none does.

    A Clip of real numbers, before they are quantized or behind, says nothing about bits.

    Args:
        chain: The ops on the way.
        program: The program.
        graph: What can be seen from the last op.
        codes: Whether the constant holds codes itself.
    """
    for node in chain:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            codes = node.op_type == "QuantizeLinear"
        elif node.op_type == "Clip" and codes and len(node.inputs) == 3:
            low, high = (constant(name, program, graph) if name else None for name in node.inputs[1:])
            if low is None or high is None or low.size != 1 or high.size != 1:
                continue
            bottom, top = float(low.reshape(())), float(high.reshape(()))
            if math.isfinite(bottom) and math.isfinite(top) and bottom <= 0 <= top:
                signed = bottom < 0
                bits = math.ceil(math.log2(max(top + 1, -bottom))) + signed
                return Range(max(bits, 2), signed)
    return None


def quantizer_format(chain: list[Node], program: Program, graph: Graph, shape: tuple[int, ...]) -> NumberFormat | None:
    """Return the format of the codes that the graph makes of a float constant, None where it makes none it can tell."""
    for node in chain:
        if node.op_type not in QUANTIZERS:
            continue
        before = chain[: chain.index(node)]
        if any(one.op_type in ("Split", "Slice") for one in before) or node.op_type == "FloatQuant":
            return None  # what the other parts are quantized by is not told here
        found = [constant(name, program, graph) if name else None for name in node.inputs[1:]]
        if not found or found[0] is None:
            return None
        scale = np.asarray(found[0], dtype=np.float64)
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            return None
        if node.op_type == "QuantizeLinear" and scale.ndim == 1 and scale.size > 1:
            axis = axis_before(before, int(node.attributes.get("axis", 1)), shape, program, graph)
            if axis is None:
                return None
            along = [-1 if i == axis else 1 for i in range(len(shape))]
            scale = scale.reshape(along)
            found[1:2] = [None if one is None else one.reshape(along) for one in found[1:2]]
        elif scale.ndim and scale.size > 1 and any(one.op_type == "Transpose" for one in before):
            return None
        if scale.size > 1 and any(one.op_type not in ALONG for one in before):
            return None
        try:
            np.broadcast_to(scale, shape)
        except ValueError:
            return None
        scale = scale.reshape(()) if scale.size == 1 else scale
        zero = np.zeros(()) if len(found) < 2 or found[1] is None else np.asarray(found[1], dtype=np.float64)
        if node.op_type == "BipolarQuant":
            return BinaryFormat(scale)
        if str(node.attributes.get("rounding_mode", "ROUND")).upper() not in ("ROUND", "HALF_EVEN"):
            return None
        if not np.all(np.isfinite(zero)) or np.any(zero % 1):
            return None
        zero = zero.reshape(()) if zero.size == 1 else zero
        if zero.ndim and zero.shape != scale.shape:
            return None
        signed, bits, narrow = True, 8.0, False
        if node.op_type == "QuantizeLinear":
            elem = _code_type(node, program, graph)
            if elem not in CODE_BITS:  # float8: no integer codes
                return None
            signed = elem in SIGNED
            bits = float(CODE_BITS[elem])
            kept = code_range(chain, program, graph, codes=False)
            if kept is not None and kept.bits < bits:
                bits, signed = float(kept.bits), kept.signed
        elif len(found) > 2 and found[2] is not None and found[2].size == 1:
            bits = float(found[2].reshape(()))
            signed = bool(node.attributes.get("signed", 1))
            narrow = bool(node.attributes.get("narrow", 0))
        else:
            return None
        if bits % 1 or not 2 <= bits <= 32:
            return None
        return IntFormat(int(bits), signed=signed, scale=scale, zero_point=zero.astype(np.int64), narrow=narrow)
    return None


def _code_type(node: Node, program: Program, graph: Graph) -> int:
    """Return the element type that a QuantizeLinear node makes: its zero point's, its attribute's, or uint8."""
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    name = origin(name, graph, {"Identity"})
    if name in graph.constants:
        value = program.tensors[graph.constants[name]]
        return elem_type_of(value) if value is not None and not isinstance(value, list) else TensorProto.UNDEFINED
    if name:
        return int(TensorProto.UNDEFINED)
    asked = node.proto.attribute
    return next((int(a.i) for a in asked if a.name == "output_dtype" and a.i), int(TensorProto.UINT8))


def number_format(elem: int, kept: Range | None) -> NumberFormat:
    """Return the format of an element type, with the real bits of *kept* where it is a container."""
    if elem in CODE_BITS:
        signed, width = elem in SIGNED, CODE_BITS[elem]
        container = f"{'' if signed else 'u'}int{max(8, width)}"
        if kept is not None and kept.bits < width:
            width, signed = kept.bits, kept.signed
        return IntFormat(width, signed=signed, dtype=container)
    names: dict[int, str] = {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.FLOAT16: "float16",
        TensorProto.BFLOAT16: "bfloat16",
        TensorProto.FLOAT8E4M3FN: "float8_e4m3fn",
        TensorProto.FLOAT8E5M2: "float8_e5m2",
        TensorProto.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
        TensorProto.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
        TensorProto.FLOAT8E8M0: "float8_e8m0fnu",
        TensorProto.FLOAT4E2M1: "float4_e2m1fn",
    }
    return parse_format(names[elem])


def channel_axis(chain: Sequence[Node], use: Use, shape: tuple[int, ...], program: Program, graph: Graph) -> int | None:
    """Axis of the constant that counts output channels, followed back through the ops on its way; None where untold."""
    if sum(size > 1 for size in shape) == 1:  # a bias or a gain, whatever axes of one element lie around it
        return next(axis for axis, size in enumerate(shape) if size > 1)
    axes = axes_behind(chain, shape, program, graph)
    if axes is None:
        return None
    axis, rank = axis_of_outputs(use, len(axes.stored)), len(axes.stored)
    return axes.stored[axis] if -rank <= axis < rank else None


def axis_of_outputs(use: Use, rank: int) -> int:
    """Axis of an input of *rank* axes that counts the output channels of the op."""
    name = use.node.op_type
    if name in LAST_AXIS:
        return rank - 1
    if name == "Einsum":
        return _einsum_axis(use, rank)
    if name in PRODUCTS and name != "MatMulNBits":
        side = "transB" if use.position else "transA"
        turned = bool(int(use.node.attributes.get(side, 0)))
        if POSITIONS.get(name, {}).get(use.position) != "weight":
            turned = False
        last = bool(use.position) != turned  # of the second factor the columns are channels, of the first the rows
        return rank - 1 if last else max(rank - 2, 0)
    return min(int(name in ("LSTM", "GRU", "RNN", "ConvTranspose")), max(rank - 1, 0))


def _einsum_axis(use: Use, rank: int) -> int:
    """Axis of a factor whose letter stands in the result and in no other factor; the last where none does."""
    equation = use.node.attributes.get("equation", "")
    equation = equation.decode() if isinstance(equation, bytes) else str(equation)
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or use.position >= len(terms) or "." in equation or len(terms[use.position]) != rank:
        return rank - 1 if use.position else max(rank - 2, 0)
    others = "".join(term for i, term in enumerate(terms) if i != use.position)
    own = [i for i, letter in enumerate(terms[use.position]) if letter in output and letter not in others]
    return own[-1] if own else rank - 1
