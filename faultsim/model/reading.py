"""How the graph stores and reads the numbers of one constant: format, real bits, step between codes, channel axis."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from faultsim.formats import BinaryFormat, IntFormat, parse_format
from faultsim.formats.base import NumberFormat
from faultsim.model.graph import Graph, Node, Program
from faultsim.model.roles import PRODUCTS, SCALES
from faultsim.model.values import CODE_BITS, SIGNED, elem_type_of, to_numpy


class Use(NamedTuple):
    """The op that computes with a constant, and as which of its inputs."""

    node: Node
    position: int


def constant(name: str, program: Program, graph: Graph) -> NDArray[np.generic] | None:
    """Return the constant called *name*, None where an op makes it."""
    makers = {o: n for n in graph.nodes for o in n.outputs if n.op_type == "Identity"}
    while name not in graph.constants and name in makers:  # exporters share equal scales through Identity
        name = makers[name].inputs[0]
    key = graph.constants.get(name)
    return None if key is None else np.asarray(to_numpy(program.tensors[key]))


def code_bits(chain: list[Node], program: Program, graph: Graph) -> int | None:
    """Real bits behind a wider container: the narrowest symmetric or unsigned range that a Clip on the way keeps."""
    for node in chain:
        if node.op_type == "Clip" and len(node.inputs) == 3:
            low, high = (constant(name, program, graph) for name in node.inputs[1:])
            if low is not None and high is not None:
                bottom, top = float(low), float(high)
                signed = bottom < 0
                bits = int(np.ceil(np.log2(max(top + 1, -bottom)))) + signed
                return max(bits, 1 + signed)
    return None


def quantizer_format(chain: list[Node], program: Program, graph: Graph, shape: tuple[int, ...]) -> NumberFormat | None:
    """Return the format of the codes that the graph makes of a float constant, None where it makes none it can tell."""
    for node in chain:
        if node.op_type not in ("Quant", "IntQuant", "BipolarQuant", "QuantizeLinear"):
            continue
        found = [constant(name, program, graph) if name else None for name in node.inputs[1:]]
        if not found or found[0] is None:
            return None
        scale = np.asarray(found[0], dtype=np.float64)
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            return None
        if node.op_type == "QuantizeLinear" and scale.ndim == 1 and scale.size > 1:
            axis = int(node.attributes.get("axis", 1)) % max(len(shape), 1)
            scale = scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        try:
            np.broadcast_to(scale, shape)
        except ValueError:
            return None
        scale = scale.reshape(()) if scale.size == 1 else scale
        zero = np.zeros(()) if len(found) < 2 or found[1] is None else np.asarray(found[1], dtype=np.float64)
        if node.op_type == "BipolarQuant":
            return BinaryFormat(float(scale)) if scale.ndim == 0 else None
        if zero.size != 1 or float(zero.reshape(())) % 1:
            return None
        signed, bits, narrow = True, 8.0, False
        if node.op_type == "QuantizeLinear":
            elem = _code_type(node, program, graph)
            if elem not in CODE_BITS:  # float8: no integer codes
                return None
            signed = elem in SIGNED
            bits = float(min(CODE_BITS[elem], code_bits(chain, program, graph) or CODE_BITS[elem]))
        elif len(found) > 2 and found[2] is not None and found[2].size == 1:
            bits = float(found[2].reshape(()))
            signed = bool(node.attributes.get("signed", 1))
            narrow = bool(node.attributes.get("narrow", 0))
        else:
            return None
        if bits % 1 or not 2 <= bits <= 32:
            return None
        return IntFormat(int(bits), signed=signed, scale=scale, zero_point=int(zero.reshape(())), narrow=narrow)
    return None


def _code_type(node: Node, program: Program, graph: Graph) -> int:
    """Return the element type that a QuantizeLinear node makes: its zero point's, its attribute's, or uint8."""
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    makers = {o: n for n in graph.nodes for o in n.outputs if n.op_type == "Identity"}
    while name and name not in graph.constants and name in makers:
        name = makers[name].inputs[0]
    if name in graph.constants:
        value = program.tensors[graph.constants[name]]
        return elem_type_of(value) if value is not None and not isinstance(value, list) else TensorProto.UNDEFINED
    if name:
        return int(TensorProto.UNDEFINED)
    asked = node.proto.attribute
    return next((int(a.i) for a in asked if a.name == "output_dtype" and a.i), int(TensorProto.UINT8))


def number_format(elem: int, bits: int | None) -> NumberFormat:
    """Return the format of an element type, with *bits* real bits where it is a container."""
    if elem in CODE_BITS:
        signed = elem in SIGNED
        width = CODE_BITS[elem] if bits is None else max(2, min(bits, CODE_BITS[elem]))
        container = f"{'' if signed else 'u'}int{max(8, CODE_BITS[elem])}"
        return IntFormat(width, signed=signed, dtype=container)
    names: dict[int, str] = {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.FLOAT16: "float16",
        TensorProto.BFLOAT16: "bfloat16",
        TensorProto.FLOAT8E4M3FN: "float8_e4m3fn",
        TensorProto.FLOAT8E5M2: "float8_e5m2",
    }
    return parse_format(names.get(elem, "float32"))


def channel_axis(chain: list[Node], use: Use, shape: tuple[int, ...]) -> int:
    """Axis of the constant that counts output channels, followed back through transposes."""
    name, rank = use.node.op_type, len(shape)
    if sum(size > 1 for size in shape) == 1:  # a bias or a gain, whatever axes of one element lie around it
        return next(axis for axis, size in enumerate(shape) if size > 1)
    axis = 0
    if name == "ConvTranspose":
        axis = 1
    elif name in ("Gemm", "QGemm", "FusedGemm"):
        axis = 0 if int(use.node.attributes.get("transB", 0)) else 1
    elif name in PRODUCTS and name != "MatMulNBits":
        axis = rank - 1 if use.position else max(rank - 2, 0)
    elif name in ("LSTM", "GRU", "RNN"):
        axis = 1
    return _before(chain, axis, rank)


def _before(chain: list[Node], axis: int, rank: int) -> int:
    """Axis of the constant that lies at *axis* after the transposes of *chain*."""
    for node in reversed(chain):
        if node.op_type == "Transpose":
            permutation = node.attributes.get("perm") or list(range(rank))[::-1]
            axis = int(permutation[axis]) if axis < len(permutation) else 0
    return min(axis, max(rank - 1, 0))


def scale_of(
    chain: list[Node], use: Use, program: Program, graph: Graph, shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """Step between two codes, of a shape that broadcasts against the tensor; None where the graph does not tell."""
    for node in [*chain, use.node]:
        position = SCALES.get(node.op_type)
        if position is None or position >= len(node.inputs):
            continue
        scale = constant(node.inputs[position], program, graph)
        if scale is None:
            return None
        step = np.asarray(scale, dtype=np.float64)
        if (node.op_type, use.position) in (("QLinearConv", 8), ("QGemm", 6)):  # a bias: in steps of input times weight
            inputs = constant(node.inputs[1], program, graph)
            return None if inputs is None else np.asarray(inputs, dtype=np.float64) * step
        if step.size == 1:
            return step.reshape(())
        axis = (
            int(node.attributes.get("axis", 1)) if node.op_type == "DequantizeLinear" else channel_axis([], use, shape)
        )
        axis %= max(len(shape), 1)
        axis = _before(chain[: chain.index(node)] if node in chain else chain, axis, len(shape))
        if step.ndim == 1 and len(shape) > axis and shape[axis] == step.size:
            return step.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return None
    return _scale_after(use.node, program, graph) if use.node.op_type == "Gather" else None


def _scale_after(node: Node, program: Program, graph: Graph) -> NDArray[np.float64] | None:
    """Scale of codes that are looked up first and read as numbers after: that of the op that does."""
    for reader in graph.nodes:
        for position in (0, 3) if reader.op_type in ("QLinearAdd", "QLinearMul") else (0,):
            if reader.op_type not in ("DequantizeLinear", "QLinearAdd", "QLinearMul"):
                continue
            if len(reader.inputs) > position + 1 and reader.inputs[position] == node.outputs[0]:
                scale = constant(reader.inputs[position + 1], program, graph)
                return None if scale is None or scale.size != 1 else np.asarray(scale, np.float64).reshape(())
    return None
