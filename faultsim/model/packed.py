"""Codes that a file packs several to a byte: which tensors, both ways, and what a code stands for. No op lives here.

com.microsoft MatMulNBits and GatherBlockQuantized read 2-bit and 4-bit codes from uint8 tensors. A loaded program holds
such a tensor with one number for each code, and the file with its bytes.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from faultsim.errors import ModelError
from faultsim.model.nodes import Graph, Node, Program
from faultsim.model.signature import check_codes
from faultsim.model.values import CODE_BITS, Codes

Array = NDArray[Any]

PACKED = {"MatMulNBits": (1, 3), "GatherBlockQuantized": (0, 3)}
"""Inputs that may hold several codes a byte, codes before zero points, by op of com.microsoft."""

_TYPES = {2: int(TensorProto.UINT2), 4: int(TensorProto.UINT4)}
_DOMAIN = "com.microsoft"
_Readings = dict[str, list[tuple[Node | None, int]]]


def unpack(program: Program) -> None:
    """Put one number for each code in place of packed bytes, in ``program.tensors``; ``program.packed`` says which.

    A tensor that anything else reads, an op that moves it among others, stays bytes.
    """
    readings: _Readings = defaultdict(list)
    _read(program.graph, {}, readings)
    for key, readers in readings.items():
        value = program.tensors[key]
        found = {_bits(node, position) for node, position in readers}
        if not isinstance(value, Codes) or value.elem_type != TensorProto.UINT8 or len(found) != 1:
            continue
        (bits,) = found
        if bits not in _TYPES or not value.values.ndim:
            continue
        codes = codes_of(value.values.numpy().astype(np.uint8), bits).astype(np.float32)
        program.tensors[key] = Codes(torch.from_numpy(codes), _TYPES[bits])
        program.packed[key] = bits
        for node, position in readers:
            if node is not None and node.op_type == "GatherBlockQuantized" and position == 0:
                node.attributes["default_zero"] = 1 << (bits - 1)


def default_zero(value: Any, node: Node) -> float:
    """Return the code that stands for 0 where *node* has no zero points: half of the range, but for native codes."""
    bytes_or_wide = isinstance(value, Codes) and value.elem_type == TensorProto.UINT8
    if node.op_type == "MatMulNBits" or bytes_or_wide:
        return float(1 << (int(node.attributes.get("bits", 4)) - 1))
    return float(node.attributes.get("default_zero", 0))


def is_packed(value: Any, node: Node, position: int) -> bool:
    """Whether a constant that *node* reads at *position*, moved perhaps, is bytes of several codes."""
    bits = _bits(node, position)
    return bits is not None and bits < 8 and isinstance(value, Codes) and value.elem_type == TensorProto.UINT8


def codes_of(packed: Array, bits: int) -> Array:
    """Return the codes of bytes, uint8, the least significant first, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return codes.reshape(*packed.shape[:-1], -1)


def bytes_of(codes: Array, bits: int) -> Array:
    """Return the bytes, uint8, of whole codes ``0 … 2**bits - 1``; the inverse of `codes_of`."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = codes.astype(np.uint8).reshape(*codes.shape[:-1], -1, shifts.size)
    packed: Array = np.bitwise_or.reduce(parts << shifts, axis=-1)
    return packed


def as_filed(program: Program, numbers: Mapping[str, Array]) -> dict[str, Array]:
    """Return new numbers by key as the file holds them: packed where it packs them.

    Raises:
        ModelError: If one is no code of its tensor's type, or packed codes have another shape than the tensor.
    """
    found = {}
    for name, array in numbers.items():
        value = program.tensors.get(name)
        if isinstance(value, Codes) and value.elem_type in CODE_BITS:
            check_codes(name, array, value.elem_type)
        if isinstance(value, Codes) and name in program.packed:
            shape = tuple(value.values.shape)
            if np.shape(array) != shape:
                raise ModelError(f"new numbers for {name!r} have shape {np.shape(array)}, the model's codes {shape}")
            array = bytes_of(np.asarray(array), program.packed[name])
        found[name] = array
    return found


def in_blocks(node: Node, given: Array, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return one number for each block of codes as they lie along the codes; None where they do not fit.

    Args:
        node: The op of `PACKED` that reads the codes.
        given: Its scales, or its zero points.
        shape: Of the codes.

    Returns:
        An array that broadcasts to *shape*.
    """
    numbers = np.asarray(given, dtype=np.float64)
    if node.op_type == "GatherBlockQuantized":
        if numbers.ndim != len(shape):
            return None
        axis = int(node.attributes.get("quantize_axis", 1)) % max(len(shape), 1)
        wide = np.repeat(numbers, int(node.attributes.get("block_size", 128)), axis)[tuple(map(slice, shape))]
        return wide if wide.shape == shape else None
    rows, block = int(node.attributes["N"]), int(node.attributes["block_size"])
    blocks = -(-int(node.attributes["K"]) // block)
    if numbers.size % max(rows, 1) or shape != (rows, blocks, block):
        return None
    numbers = numbers.reshape(rows, -1)[:, :blocks, None]
    return numbers if numbers.shape[1] == blocks else None


def _read(graph: Graph, around: Mapping[str, str], found: _Readings) -> None:
    """Take down who reads each constant, by key; None where a graph hands it out."""
    keys = {name: key for name, key in around.items() if name not in graph.input_names} | graph.constants
    for node in graph.nodes:
        inner = {}
        for position, name in enumerate(node.inputs):
            if name not in keys:
                continue
            if node.body is not None and position < len(node.body.graph.input_names):
                inner[node.body.graph.input_names[position]] = keys[name]
            else:
                found[keys[name]].append((node, position))
        if node.body is not None:
            _into(node.body.graph, inner, found)
        for subgraph in node.subgraphs():
            _read(subgraph, keys, found)
    for name in graph.output_names:
        if name in keys:
            found[keys[name]].append((None, 0))


def _into(body: Graph, given: Mapping[str, str], found: _Readings) -> None:
    """Go on in the body of a function, whose formal inputs stand for constants of the caller."""
    free = Graph(body.name, (), body.output_names, body.nodes, body.constants)
    _read(free, given, found)


def _bits(node: Node | None, position: int) -> int | None:
    """Return the bits of a code that *node* reads at *position*; None where it reads no such thing."""
    if node is None or node.domain != _DOMAIN or position not in PACKED.get(node.op_type, ()):
        return None
    return int(node.attributes.get("bits", 4))
