"""How the graph codes a stored number: the step, zero point and range of integer codes, who reads them. No training.

A QONNX weight is a float tensor that a node of the graph quantizes; an int8 weight is codes that a node dequantizes.
Both are found here by following the constant through the graph.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Site
from faultsim.formats import IntFormat
from faultsim.model import Model
from faultsim.model.inline import written_out
from faultsim.model.nodes import Graph, Node
from faultsim.model.roles import CARRIERS, CODES
from faultsim.model.values import to_numpy

_PICKS = frozenset({"Gather", "GatherND", "GatherElements"})
"""Ops that hand out some of a table's codes, before they are dequantized."""
QUANTIZERS = frozenset({"Quant", "IntQuant", "BipolarQuant"})


class Coding(NamedTuple):
    """Integer codes of one tensor, ``real = step · (code - zero)``.

    Attributes:
        step: Real units per code, float64, broadcastable to the tensor; 1 where the graph has 0.
        zero: Code of 0, float64, broadcastable to the tensor.
        low: Least code that may be stored.
        high: Greatest code that may be stored.
        scale_key: Name of the initializer that holds the step, None where several numbers make it.
    """

    step: NDArray[np.float64]
    zero: NDArray[np.float64]
    low: int
    high: int
    scale_key: str | None


def coding_of(model: Model, site: Site) -> Coding | None:
    """Return the coding of a site of integer codes; None where the graph does not tell the step.

    The range is that of the real bits behind the container. A tensor of signed codes that never holds the lowest one
    keeps to the symmetric range: a quantizer that left it out may feed a kernel that relies on it.
    """
    codes = model.numbers[site.name]
    if site.scale is None or not isinstance(site.format, IntFormat):
        return None
    zero = np.zeros(()) if site.zero is None else site.zero
    if zero.size > 1 and zero.shape != site.scale.shape:
        return None
    low, high = site.format.lowest, site.format.highest
    if low < 0 and codes.size and int(codes.min()) > low:
        low = -high
    step = np.asarray(site.scale, dtype=np.float64)
    step = np.where(step == 0, 1.0, step)  # codes of a dead channel stay as they are: no gradient reaches them
    return Coding(step, zero, low, high, _scale_key(model, site, step.size))


def _scale_key(model: Model, site: Site, size: int) -> str | None:
    """The initializer that holds the scale of codes, of so many numbers: one of blocks is laid out wider."""
    graph = _flat(model)
    reader = _reader(graph, site.name)
    at = None if reader is None else CODES[reader[0].op_type].get(reader[1])
    if reader is None or at is None or at.scale is None:
        return None
    key = _key(graph, reader[0], at.scale)
    return key if key in model.program.tensors and np.size(to_numpy(model.program.tensors[key])) == size else None


def quantizer_output(model: Model, site: Site) -> str | None:
    """Return the value on which the graph has put the float tensor of *site* on its grid, of the tensor's own shape.

    None where the graph does not quantize it, or turns it before it does.
    """
    if site.quantizer is None:
        return None
    readers = [node for node, position in _readers(_flat(model), site.name) if position == 0]
    if len(readers) != 1:
        return None
    (node,) = readers
    if node.op_type in QUANTIZERS:
        return str(node.outputs[0])
    if node.op_type != "QuantizeLinear":
        return None
    name = node.outputs[0]
    while True:
        onward = [n for n, position in _readers(_flat(model), name, local=True) if position == 0]
        if len(onward) != 1 or onward[0].op_type not in ("Clip", "DequantizeLinear"):
            return None
        name = onward[0].outputs[0]
        if onward[0].op_type == "DequantizeLinear":
            return str(name)


def quantizer_scale(model: Model, site: Site) -> str | None:
    """Return the initializer that holds the scale of the node that quantizes a float tensor, None where there is none.

    A QuantizeLinear and its DequantizeLinear may name two; such a pair is left alone.
    """
    for node, position in _readers(_flat(model), site.name):
        if position == 0 and node.op_type in QUANTIZERS:
            return _key(_flat(model), node, 1)
    return None


def read_once(model: Model, key: str) -> bool:
    """Return whether a single input of a single node of the main graph reads the constant *key*."""
    return len(list(_readers(_flat(model), key))) == 1


def statistics(model: Model) -> dict[str, list[tuple[Node, int]]]:
    """Return who reads the running statistics of batch norms, functions written out: nodes and positions, by name."""
    graph = _flat(model)
    found: dict[str, list[tuple[Node, int]]] = {}
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            for position in (3, 4):
                key = _key(graph, node, position)
                if key is not None:
                    found.setdefault(key, []).append((node, position))
    return found


def _flat(model: Model) -> Graph:
    """The graph with its functions written out."""
    return written_out(model.program.graph)


def _key(graph: Graph, node: Node, position: int) -> str | None:
    """Name of the constant behind an input, through Identity; None where an op makes it."""
    if position >= len(node.inputs) or not node.inputs[position]:
        return None
    name = node.inputs[position]
    makers: dict[str, Any] = {o: n for n in graph.nodes for o in n.outputs if n.op_type == "Identity"}
    while name not in graph.constants and name in makers:
        name = makers[name].inputs[0]
    return graph.constants.get(name)


def _readers(graph: Graph, name: str, *, local: bool = False) -> Iterator[tuple[Node, int]]:
    names = {name} if local else {alias for alias, key in graph.constants.items() if key == name}
    for node in graph.nodes:
        for position, read in enumerate(node.inputs):
            if read in names:
                yield node, position


def _reader(graph: Graph, name: str) -> tuple[Node, int] | None:
    """The first node behind *name*, past those that only carry numbers, that knows a scale."""
    names = {alias for alias, key in graph.constants.items() if key == name}
    for node in graph.nodes:
        for position, read in enumerate(node.inputs):
            if read not in names:
                continue
            if node.op_type in CODES:
                return node, position
            if position == 0 and (node.op_type in CARRIERS or node.op_type in _PICKS):
                names.update(output for output in node.outputs if output)
    return None
