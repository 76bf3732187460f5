"""Which tensors of a graph are sites, and what each is to its layer: role, kind, depth, format, scale.

A tensor is followed from its constant through the ops that only move, quantize or dequantize it to the op that computes
with it. Nothing is executed here.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from faultsim.corruption import Kind, Role, Site
from faultsim.formats import IntFormat, parse_format
from faultsim.formats.base import NumberFormat
from faultsim.model.graph import Graph, Node, Program, walk
from faultsim.model.roles import ARITHMETIC, CARRIERS, CONVOLUTIONS, POSITIONS, PRODUCTS, SCALES
from faultsim.model.values import CODE_BITS, FLOAT8, SIGNED, Codes, Value, elem_type_of, to_numpy


class _Use(NamedTuple):
    node: Node
    position: int
    axis: int | None  # which axis of the constant is the output channel there, None if lost on the way


def find_sites(program: Program) -> tuple[Site, ...]:
    """Return the sites of *program* in the order of its layers (weights before biases before the rest).

    Integer index tensors, shapes, and constants before the first layer (an input normalisation) are no sites of
    the roles weight, bias or norm; constants get the role ``constant``.
    """
    order = {id(node): position for position, node in enumerate(program.nodes())}
    depths = _depths(program)
    first_layer = min((order[id(n)] for n in program.nodes() if id(n) in depths), default=0)
    sites: list[tuple[tuple[int, int, str], Site]] = []
    for graph in _graphs(program.graph):
        users = _users(graph)
        for local, key in graph.constants.items():
            site = _site(local, key, program, graph, users, depths, order, first_layer)
            if site is not None:
                sites.append(site)
    sites.sort(key=lambda item: item[0])
    return tuple(site for _, site in sites)


_RANK: dict[Role, int] = {
    "weight": 0,
    "bias": 1,
    "norm": 2,
    "scale": 3,
    "zero_point": 4,
    "constant": 5,
    "activation": 6,
}


def _site(
    local: str,
    key: str,
    program: Program,
    graph: Graph,
    users: Mapping[str, list[tuple[Node, int]]],
    depths: Mapping[int, int],
    order: Mapping[int, int],
    first_layer: int,
) -> tuple[tuple[int, int, str], Site] | None:
    value = program.tensors[key]
    elem = _element_type(value)
    if elem is None:
        return None
    shape = tuple(value.values.shape) if isinstance(value, Codes) else tuple(np.shape(value))  # type: ignore[arg-type]
    chain, use = _follow(local, users)
    if use is None:
        return None
    role = _role(use, shape, isinstance(value, Codes), order[id(use.node)] > first_layer)
    if role is None or not np.prod(shape, dtype=np.int64):
        return None
    layer = use.node
    kind = _kind(layer, role, shape, graph, users)
    # A scale or zero point belongs to the layer that reads the tensor it quantizes.
    if role in ("scale", "zero_point") and layer.op_type in CARRIERS and layer.outputs:
        _, onward = _follow(layer.outputs[0], users)
        depth = depths.get(id(onward.node), 0) if onward else 0
    else:
        depth = depths.get(id(layer), _depth_before(order[id(layer)], depths, order, program))
    bits = _code_bits(chain, program, graph) if isinstance(value, Codes) else None
    site = Site(
        name=key,
        shape=shape,
        format=_format(elem, bits),
        layer=layer.name,
        kind=kind,
        role=role,
        depth=depth,
        channel_axis=_channel_axis(chain, use, len(shape)),
        scale=_scale(chain, use, program, graph, shape) if isinstance(value, Codes) else None,
        code_bits=bits,
    )
    return (order[id(layer)], _RANK[role], key), site


def _graphs(graph: Graph) -> Iterable[Graph]:
    yield graph
    for node in graph.nodes:
        for value in node.attributes.values():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, Graph):
                    yield from _graphs(inner)


def _element_type(value: Value) -> int | None:
    """Element type of a constant that can be a parameter, else None."""
    if value is None or isinstance(value, list) or (isinstance(value, np.ndarray) and value.dtype.kind in "OUS"):
        return None
    elem = elem_type_of(value)
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, *FLOAT8)
    return elem if elem in floats or isinstance(value, Codes) else None


def _users(graph: Graph) -> dict[str, list[tuple[Node, int]]]:
    users: dict[str, list[tuple[Node, int]]] = defaultdict(list)
    for node in walk(graph):
        for position, name in enumerate(node.inputs):
            if name:
                users[name].append((node, position))
    return users


def _follow(local: str, users: Mapping[str, list[tuple[Node, int]]]) -> tuple[list[Node], _Use | None]:
    """Follow *local* to the first op that computes with it; also the carriers on the way."""
    queue: deque[tuple[str, list[Node]]] = deque([(local, [])])
    seen = {local}
    fallback: tuple[list[Node], _Use | None] = ([], None)
    while queue:
        name, chain = queue.popleft()
        for node, position in users.get(name, ()):
            carries = node.op_type in CARRIERS and (position == 0 or node.op_type == "Concat")
            if not carries:
                if POSITIONS.get(node.op_type, {}).get(position) or node.op_type in ARITHMETIC:
                    return chain, _Use(node, position, None)
                fallback = fallback if fallback[1] else (chain, _Use(node, position, None))
                continue
            for output in node.outputs:
                if output and output not in seen:
                    seen.add(output)
                    queue.append((output, [*chain, node]))
    return fallback


def _role(use: _Use, shape: tuple[int, ...], codes: bool, after_first_layer: bool) -> Role | None:
    role = POSITIONS.get(use.node.op_type, {}).get(use.position)
    if role == "weight" and use.node.op_type == "Gather" and len(shape) < 2:
        return "constant"
    if role is not None:
        return role
    if use.node.op_type in ARITHMETIC:
        if int(np.prod(shape, dtype=np.int64)) <= 1 or not after_first_layer:
            return "constant"
        return "bias" if use.node.op_type in ("Add", "Sum") else "norm"
    return None if codes else "constant"


def _kind(
    node: Node, role: Role, shape: tuple[int, ...], graph: Graph, users: Mapping[str, list[tuple[Node, int]]]
) -> Kind:
    name = node.op_type
    if name in CONVOLUTIONS:
        return (
            "depthwise"
            if int(node.attributes.get("group", 1)) > 1 and shape[:1] != () and (len(shape) < 2 or shape[1] == 1)
            else "conv"
        )
    if name in PRODUCTS:
        return "gemm"
    if "Normalization" in name:
        return "norm"
    if name in ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"):
        return "recurrent"
    if name in ("Gather", "GatherBlockQuantized"):
        return "embedding"
    if "Attention" in name:
        return "attention"
    if role in ("scale", "zero_point"):
        return "quantization"
    if name in ARITHMETIC or name == "BiasGelu":
        # The addend right after a matrix product is that layer's bias.
        makers = {o: n for n in graph.nodes for o in n.outputs}
        if role == "bias" and any(i in makers and makers[i].op_type in PRODUCTS for i in node.inputs):
            return "gemm"
        if role == "bias" and any(i in makers and makers[i].op_type in CONVOLUTIONS for i in node.inputs):
            return "conv"
        return "elementwise"
    return "other"


def _depths(program: Program) -> dict[int, int]:
    """Depth of each node that has a weight: its position among those nodes."""
    weighted: list[Node] = []
    for graph in _graphs(program.graph):
        users = _users(graph)
        for local, key in graph.constants.items():
            if _element_type(program.tensors[key]) is None:
                continue
            _, use = _follow(local, users)
            if use is not None and POSITIONS.get(use.node.op_type, {}).get(use.position) in (
                "weight",
                "norm",
            ):
                weighted.append(use.node)
    positions = {id(node): position for position, node in enumerate(program.nodes())}
    ordered = sorted({id(n): positions[id(n)] for n in weighted}.items(), key=lambda item: item[1])
    return {node: depth for depth, (node, _) in enumerate(ordered)}


def _depth_before(position: int, depths: Mapping[int, int], order: Mapping[int, int], program: Program) -> int:
    return max((depth for node, depth in depths.items() if order[node] <= position), default=0)


def _constant(name: str, program: Program, graph: Graph) -> NDArray[np.generic] | None:
    key = graph.constants.get(name)
    return None if key is None else np.asarray(to_numpy(program.tensors[key]))


def _code_bits(chain: list[Node], program: Program, graph: Graph) -> int | None:
    """Real bits behind a wider container: the narrowest symmetric or unsigned range that a Clip on the way keeps."""
    for node in chain:
        if node.op_type == "Clip" and len(node.inputs) == 3:
            low, high = (_constant(name, program, graph) for name in node.inputs[1:])
            if low is not None and high is not None:
                bottom, top = float(low), float(high)
                signed = bottom < 0
                bits = int(np.ceil(np.log2(max(top + 1, -bottom)))) + signed
                return max(bits, 1 + signed)
    return None


def _format(elem: int, bits: int | None) -> NumberFormat:
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


def _channel_axis(chain: list[Node], use: _Use, rank: int) -> int:
    """Axis of the constant that counts output channels, followed back through transposes."""
    name = use.node.op_type
    axis = 0
    if name == "ConvTranspose":
        axis = 1
    elif name in ("Gemm", "QGemm", "FusedGemm"):
        axis = 0 if int(use.node.attributes.get("transB", 0)) else 1
    elif name in PRODUCTS and name != "MatMulNBits":
        axis = rank - 1 if use.position else max(rank - 2, 0)
    elif name in ("LSTM", "GRU", "RNN"):
        axis = 1
    for node in reversed(chain):
        if node.op_type == "Transpose":
            permutation = node.attributes.get("perm") or list(range(rank))[::-1]
            axis = int(permutation[axis]) if axis < len(permutation) else 0
    return min(axis, max(rank - 1, 0))


def _scale(
    chain: list[Node], use: _Use, program: Program, graph: Graph, shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """Step between two codes, of a shape that broadcasts against the tensor; None where the graph does not tell."""
    for node in [*chain, use.node]:
        position = SCALES.get(node.op_type)
        if position is None or position >= len(node.inputs):
            continue
        scale = _constant(node.inputs[position], program, graph)
        if scale is None:
            return None
        step = np.asarray(scale, dtype=np.float64)
        if node.op_type == "QLinearConv" and use.position == 8:
            inputs = _constant(node.inputs[1], program, graph)
            return None if inputs is None else np.asarray(inputs, dtype=np.float64) * step
        if step.size == 1:
            return step.reshape(())
        axis = (
            int(node.attributes.get("axis", 1))
            if node.op_type == "DequantizeLinear"
            else (0 if node.op_type == "QLinearConv" else len(shape) - 1)
        )
        axis %= max(len(shape), 1)
        if step.ndim == 1 and len(shape) > axis and shape[axis] == step.size:
            return step.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return None
    return None
