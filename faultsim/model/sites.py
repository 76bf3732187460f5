"""Which tensors of a graph are sites, and what each is to its layer: role, kind, depth, format, scale.

A tensor is followed from its constant through the ops that only move, quantize or dequantize it to the op that computes
with it, into branches, loops and model-local functions. Nothing is executed here.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

import numpy as np
from onnx import TensorProto
from torch import Tensor

from faultsim.corruption import Kind, Role, Site
from faultsim.model.code_grid import scale_of, zero_of
from faultsim.model.inline import written_out
from faultsim.model.nodes import Graph, Node, Program, walk
from faultsim.model.packed import is_packed
from faultsim.model.reading import (
    QUANTIZERS,
    Use,
    channel_axis,
    code_range,
    number_format,
    origin,
    quantizer_format,
)
from faultsim.model.roles import ARITHMETIC, CARRIERS, CONVOLUTIONS, POSITIONS, PRODUCTS
from faultsim.model.values import FLOAT8, Codes, Value, elem_type_of


def find_sites(program: Program) -> tuple[Site, ...]:
    """Return the sites of *program* in the order of its layers (weights before biases before the rest).

    Integer index tensors, shapes, and constants before the first layer (an input normalisation) are no sites of
    the roles weight, bias or norm; constants get the role ``constant``. A tensor that several calls of a model-local
    function share is one site, of the layer that reads it first. Sparse tensors are no sites: they run as stored
    (`stored.sparse_names`).
    """
    whole = written_out(program.graph)
    order = {id(node): position for position, node in enumerate(walk(whole))}
    views = _views(whole)
    depths = _depths(program, whole, order)
    first_layer = min((order[id(n)] for n in walk(whole) if id(n) in depths), default=0)
    sites: list[tuple[tuple[int, int, str], Site]] = []
    for graph in _graphs(whole):
        users = _users(graph)
        for local, key in graph.constants.items():
            site = _site(local, key, program, views, users, depths, order, first_layer)
            if site is not None:
                sites.append(site)
    sites.sort(key=lambda item: item[0])
    first: dict[str, Site] = {}
    for _, found in sites:
        first.setdefault(found.name, found)
    return tuple(first.values())


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
    views: Mapping[int, Graph],
    users: Mapping[str, list[tuple[Node, int]]],
    depths: Mapping[int, int],
    order: Mapping[int, int],
    first_layer: int,
) -> tuple[tuple[int, int, str], Site] | None:
    value = program.tensors[key]
    elem = element_type(value)
    if elem is None or key not in program.paths:  # a sparse tensor has no place for all of them
        return None
    shape = tuple(value.values.shape) if isinstance(value, Codes) else tuple(np.shape(value))  # type: ignore[arg-type]
    chain, use = _follow(local, users)
    if use is None:
        return None
    role = _role(use, shape, isinstance(value, Codes), order[id(use.node)] > first_layer and not _is_mask(value))
    if role is None or not np.prod(shape, dtype=np.int64):
        return None
    layer = use.node
    graph = views[id(layer)]
    kind = _kind(layer, role, program, graph)
    # A scale or zero point belongs to the layer that reads the tensor it quantizes.
    if role in ("scale", "zero_point") and layer.op_type in CARRIERS and layer.outputs:
        _, onward = _follow(layer.outputs[0], users)
        place = onward.node if onward else layer
    else:
        place = layer
    depth = depths.get(id(place), _depth_before(order[id(place)], depths, order))
    kept = code_range(chain, program, graph, codes=True) if isinstance(value, Codes) else None
    quantizer, untold = None, False
    if not isinstance(value, Codes) and any(node.op_type in QUANTIZERS for node in chain):
        quantizer = quantizer_format(chain, program, graph, shape) if _one_quantizer(local, users) else None
        untold = quantizer is None and role == "weight"
    site = Site(
        name=key,
        shape=shape,
        format=number_format(elem, kept),
        layer=layer.name,
        kind=kind,
        role=role,
        depth=depth,
        channel_axis=channel_axis(chain, use, shape),
        scale=scale_of(chain, use, program, graph, shape) if isinstance(value, Codes) else None,
        zero=zero_of(chain, use, program, graph, shape) if isinstance(value, Codes) else None,
        code_bits=None if kept is None else kept.bits,
        quantizer=quantizer,
        untold=untold,
        packed=is_packed(value, layer, use.position),
    )
    return (order[id(layer)], _RANK[role], key), site


def _graphs(graph: Graph) -> Iterable[Graph]:
    yield graph
    for node in graph.nodes:
        for inner in node.subgraphs():
            yield from _graphs(inner)


def _views(graph: Graph, around: Graph | None = None) -> dict[int, Graph]:
    """By node what can be seen from it: the nodes and constants of its own graph and of those around it."""
    view = graph
    if around is not None:
        both = {**around.constants, **graph.constants}
        view = Graph(graph.name, graph.input_names, graph.output_names, [*around.nodes, *graph.nodes], both)
    found: dict[int, Graph] = {}
    for node in graph.nodes:
        found[id(node)] = view
        for inner in node.subgraphs():
            found.update(_views(inner, view))
    return found


def element_type(value: Value) -> int | None:
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


def _follow(local: str, users: Mapping[str, list[tuple[Node, int]]]) -> tuple[list[Node], Use | None]:
    """Follow *local* to the first op that computes with it; also the carriers on the way."""
    queue: deque[tuple[str, list[Node]]] = deque([(local, [])])
    seen = {local}
    fallback: tuple[list[Node], Use | None] = ([], None)
    while queue:
        name, chain = queue.popleft()
        for node, position in users.get(name, ()):
            carries = node.op_type in CARRIERS and (position == 0 or node.op_type == "Concat")
            if not carries:
                if POSITIONS.get(node.op_type, {}).get(position) or node.op_type in ARITHMETIC:
                    return chain, Use(node, position)
                fallback = fallback if fallback[1] else (chain, Use(node, position))
                continue
            for output in node.outputs:
                if output and output not in seen:
                    seen.add(output)
                    queue.append((output, [*chain, node]))
    return fallback


def _one_quantizer(local: str, users: Mapping[str, list[tuple[Node, int]]]) -> bool:
    """Whether all nodes that quantize *local*, past those that leave its numbers as they are, do so in one way."""
    names, seen = [local], {local}
    ways = set[tuple[str, ...]]()
    while names:
        for node, position in users.get(names.pop(), ()):
            if position == 0 and node.op_type in QUANTIZERS:
                ways.add((node.op_type, *node.inputs[1:], repr(sorted(node.attributes.items()))))
            elif position == 0 and node.op_type in CARRIERS:
                fresh = [output for output in node.outputs if output and output not in seen]
                seen.update(fresh)
                names += fresh
    return len(ways) == 1


def _is_mask(value: Value) -> bool:
    """Whether a float constant shuts positions out (an attention mask of -inf or the like): no parameter does."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
        return False
    return bool((value.abs() >= 0.9e4).any()) and bool(((value == 0) | (value == value.min())).all())


def _role(use: Use, shape: tuple[int, ...], codes: bool, after_first_layer: bool) -> Role | None:
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


def _kind(node: Node, role: Role, program: Program, graph: Graph) -> Kind:
    name = node.op_type
    if name in CONVOLUTIONS:
        return "depthwise" if _one_channel_a_group(node, program, graph) else "conv"
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


def _one_channel_a_group(node: Node, program: Program, graph: Graph) -> bool:
    """Whether each filter of a convolution sees one channel alone, by the shape of its weight."""
    groups = int(node.attributes.get("group", 1))
    name = node.inputs[next(p for p, role in POSITIONS[node.op_type].items() if role == "weight")]
    name = origin(name, graph, CARRIERS)
    value = program.tensors.get(graph.constants.get(name, ""))
    if groups == 1 or value is None or isinstance(value, list):
        return False
    shape = np.shape(value.values) if isinstance(value, Codes) else np.shape(value)
    return len(shape) > 1 and (shape[0] == groups if node.op_type == "ConvTranspose" else shape[1] == 1)


def _depths(program: Program, whole: Graph, order: Mapping[int, int]) -> dict[int, int]:
    """Depth of each node that has a weight: its position among those nodes."""
    weighted: dict[int, int] = {}
    for graph in _graphs(whole):
        users = _users(graph)
        for local, key in graph.constants.items():
            if element_type(program.tensors[key]) is None:
                continue
            _, use = _follow(local, users)
            if use is not None and POSITIONS.get(use.node.op_type, {}).get(use.position) in ("weight", "norm"):
                weighted[id(use.node)] = order[id(use.node)]
    return {node: depth for depth, node in enumerate(sorted(weighted, key=weighted.__getitem__))}


def _depth_before(position: int, depths: Mapping[int, int], order: Mapping[int, int]) -> int:
    return max((depth for node, depth in depths.items() if order[node] <= position), default=0)
