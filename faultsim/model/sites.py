"""Which tensors of a graph are sites, and what each is to its layer: role, kind, depth, format, scale.

A tensor is followed from its constant to the op that computes with it (`follow.py`), into branches, loops and
model-local functions. Nothing is executed here.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from faultsim.corruption import Kind, Role, Site
from faultsim.model.code_grid import scale_of, zero_of
from faultsim.model.constants import origin
from faultsim.model.follow import Flow, Name, Way
from faultsim.model.inline import written_out
from faultsim.model.nodes import Graph, Node, Program, walk
from faultsim.model.packed import is_packed
from faultsim.model.parts import ROUNDS, role_of
from faultsim.model.reading import QUANTIZERS, channel_axis, code_range, number_format, quantizer_format
from faultsim.model.roles import ARITHMETIC, CARRIERS, CONVOLUTIONS, PICKS, POSITIONS, PRODUCTS
from faultsim.model.values import FLOAT8, Codes, Value, elem_type_of


class _Reading(NamedTuple):
    """One stored tensor, its way through the graph, and what is read off at its end."""

    key: str
    value: Value
    shape: tuple[int, ...]
    name: Name
    way: Way


class _Whole(NamedTuple):
    """The model that is read: its graph in one piece, who sees what, and the order of nodes and layers."""

    program: Program
    flow: Flow
    views: Mapping[int, Graph]
    order: Mapping[int, int]
    depths: Mapping[int, int]
    largest: Mapping[tuple[int, int], int]


def find_sites(program: Program) -> tuple[Site, ...]:
    """Return the sites of *program* in the order of its layers (weights before biases before the rest).

    Integer index tensors, shapes, and constants before the first layer (an input normalisation) are no sites of
    the roles weight, bias or norm; constants get the role ``constant``. A tensor that several calls of a model-local
    function share is one site, of the layer that reads it first. Sparse tensors are no sites: they run as stored
    (`stored.sparse_names`). The rule of the roles is in `parts.py`.
    """
    graph = written_out(program.graph)
    order = {id(node): position for position, node in enumerate(walk(graph))}
    flow = Flow(graph)
    readings = _readings(program, graph, flow)
    largest: dict[tuple[int, int], int] = defaultdict(int)
    for one in readings:
        if one.way.use is not None:
            place = id(one.way.use.node), one.way.use.position
            largest[place] = max(largest[place], math.prod(one.shape))
    whole = _Whole(program, flow, _views(graph), order, _depths(readings, order), largest)
    first_layer = min((order[node] for node in whole.depths), default=0)
    found = (_site(one, whole, first_layer) for one in readings)
    first: dict[str, Site] = {}
    for _, site in sorted((one for one in found if one is not None), key=lambda item: item[0]):
        first.setdefault(site.name, site)
    return tuple(first.values())


def left_out(program: Program, sites: Iterable[Site]) -> tuple[str, ...]:
    """Return the stored tensors that the graph reads and that are no parameter of a layer.

    They have the role ``constant`` or no site; short ones (`FEW` numbers at most) and sparse ones are not named.
    """
    parameters = {site.name for site in sites if site.role != "constant"}
    graph = written_out(program.graph)
    readings = _readings(program, graph, Flow(graph))
    names = (r.key for r in readings if r.way.use is not None and math.prod(r.shape) > FEW)
    return tuple(dict.fromkeys(name for name in names if name not in parameters))


FEW = 8
"""Numbers up to which a constant is taken for a setting, and not named among what is left out."""


def _readings(program: Program, graph: Graph, flow: Flow) -> list[_Reading]:
    readings = []
    for scope in _graphs(graph):
        for local, key in scope.constants.items():
            value = program.tensors[key]
            if element_type(value) is None or key not in program.paths:  # a sparse tensor has no place for all of them
                continue
            numbers = value.values if isinstance(value, Codes) else value
            shape = tuple(np.shape(numbers))  # type: ignore[arg-type]
            name = id(scope), local
            readings.append(_Reading(key, value, shape, name, flow.follow(name, math.prod(shape))))
    return readings


_RANK: dict[Role, int] = {
    "weight": 0,
    "bias": 1,
    "norm": 2,
    "scale": 3,
    "zero_point": 4,
    "constant": 5,
    "activation": 6,
}


def _site(one: _Reading, whole: _Whole, first_layer: int) -> tuple[tuple[int, int, str], Site] | None:
    program, order, (way, shape) = whole.program, whole.order, (one.way, one.shape)
    if way.use is None or not math.prod(shape):
        return None
    use, layer, coded = way.use, way.use.node, isinstance(one.value, Codes)
    role = role_of(
        way,
        one.value,
        shape,
        program,
        whole.views,
        after_first_layer=order[id(layer)] > first_layer,
        largest=whole.largest[id(layer), use.position],
    )
    if role is None:
        return None
    graph = _view(way, whole.views)
    # A scale or zero point belongs to the layer that reads the tensor it quantizes.
    place = layer
    if role in ("scale", "zero_point") and layer.op_type in CARRIERS and whole.flow.outputs[id(layer)]:
        onward = whole.flow.follow(whole.flow.outputs[id(layer)][0]).use
        place = onward.node if onward else layer
    kept = code_range(way.stored, program, graph, codes=True) if coded else None
    quantizer, untold = None, False
    if not coded and any(node.op_type in QUANTIZERS | ROUNDS for node in way.chain):
        quantized = whole.flow.quantized_one_way(one.name)
        quantizer = quantizer_format(way.stored, program, graph, shape) if quantized else None
        untold = quantizer is None and role == "weight"
    axis = channel_axis(way.chain, use, shape, program, graph)
    site = Site(
        name=one.key,
        shape=shape,
        format=number_format(elem_type_of(one.value), kept),  # type: ignore[arg-type]
        layer=layer.name,
        kind=_kind(layer, role, program, graph, shape),
        role=role,
        depth=whole.depths.get(id(place), _depth_before(order[id(place)], whole.depths, order)),
        channel_axis=0 if axis is None else axis,
        channels_told=axis is not None,
        scale=scale_of(way, use, program, graph, shape) if coded else None,
        zero=zero_of(way, use, program, graph, shape) if coded else None,
        code_bits=None if kept is None else kept.bits,
        quantizer=quantizer,
        untold=untold,
        packed=is_packed(one.value, layer, use.position),
    )
    return (order[id(layer)], _RANK[role], one.key), site


def _view(way: Way, views: Mapping[int, Graph]) -> Graph:
    """What can be seen from the nodes of a way, which may lie in several scopes."""
    nodes = [*way.chain, *([way.use.node] if way.use else [])]
    seen = list({id(views[id(node)]): views[id(node)] for node in nodes if id(node) in views}.values())
    if len(seen) == 1:
        return seen[0]
    joined = {id(node): node for graph in seen for node in graph.nodes}
    constants = {name: key for graph in seen for name, key in graph.constants.items()}
    return Graph("", (), (), list(joined.values()), constants)


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


def _kind(node: Node, role: Role, program: Program, graph: Graph, shape: tuple[int, ...]) -> Kind:
    name = node.op_type
    if name in CONVOLUTIONS:
        return "depthwise" if _one_channel_a_group(node, program, graph, shape if role == "weight" else ()) else "conv"
    if name in PRODUCTS:
        return "gemm"
    if "Normalization" in name:
        return "norm"
    if name in ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"):
        return "recurrent"
    if name in PICKS or name == "GatherBlockQuantized":
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


def _one_channel_a_group(node: Node, program: Program, graph: Graph, known: tuple[int, ...]) -> bool:
    """Whether each filter of a convolution sees one channel alone, by the shape of its weight.

    *known* is the shape of the stored weight, which stands in where ops make the weight of it.
    """
    groups = int(node.attributes.get("group", 1))
    name = node.inputs[next(p for p, role in POSITIONS[node.op_type].items() if role == "weight")]
    name = origin(name, graph, CARRIERS)
    value = program.tensors.get(graph.constants.get(name, ""))
    if groups == 1 or isinstance(value, list):
        return False
    shape = known if value is None else np.shape(value.values) if isinstance(value, Codes) else np.shape(value)
    return len(shape) > 1 and (shape[0] == groups if node.op_type == "ConvTranspose" else shape[1] == 1)


def _depths(readings: Iterable[_Reading], order: Mapping[int, int]) -> dict[int, int]:
    """Depth of each node that has a weight: its position among those nodes."""
    uses = [one.way.use for one in readings if one.way.use is not None]
    weighted = {
        id(use.node) for use in uses if POSITIONS.get(use.node.op_type, {}).get(use.position) in ("weight", "norm")
    }
    return {node: depth for depth, node in enumerate(sorted(weighted, key=order.__getitem__))}


def _depth_before(position: int, depths: Mapping[int, int], order: Mapping[int, int]) -> int:
    return max((depth for node, depth in depths.items() if order[node] <= position), default=0)
