"""Which names of a graph are quantized codes by what reads them: a 32-bit integer tells by nothing else. No op here."""

from collections.abc import Collection, Mapping, Sequence

from onnx import FunctionProto, GraphProto, NodeProto

from faultsim.model.bodies import subgraphs
from faultsim.model.roles import QUANTIZED_OPS

FunctionKey = tuple[str, str, str]
"""What tells a model-local function: domain (ai.onnx as ``""``), name, overload (``""`` before IR 10)."""
Functions = Mapping[FunctionKey, FunctionProto]

_MOVES = frozenset({"Clip", "Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze", "Flatten"})


def domain_of(holder: NodeProto | FunctionProto) -> str:
    """Return the domain of a node or function, ai.onnx as ``""``."""
    return "" if holder.domain == "ai.onnx" else holder.domain


def called(node: NodeProto) -> FunctionKey:
    """Return the key of the function that *node* calls, if it calls one."""
    return domain_of(node), node.op_type, node.overload


def key_of(function: FunctionProto) -> FunctionKey:
    """Return the key of a model-local function."""
    return domain_of(function), function.name, function.overload


def codes_names(nodes: Sequence[NodeProto], functions: Functions, *, wanted: Collection[str] = ()) -> set[str]:
    """Return the names that a quantized op reads: directly, through ops that only move elements, or inside a body.

    A bias may lie outside the If, Loop, Scan or model-local function that dequantizes it.

    Args:
        nodes: One scope, in order.
        functions: Model-local functions.
        wanted: Names of the scope that something outside reads as codes.
    """
    names = set(wanted)
    for node in reversed(nodes):
        function = functions.get(called(node))
        if function is not None:
            asked = {formal for formal, actual in zip(function.output, node.output, strict=False) if actual in names}
            inner = codes_names(function.node, functions, wanted=asked)
            names |= {actual for formal, actual in zip(function.input, node.input, strict=False) if formal in inner}
        elif node.op_type in QUANTIZED_OPS:
            names.update(node.input)
        elif node.op_type in _MOVES and names.intersection(node.output):
            names.update(node.input[:1])
        for graph in subgraphs(node):
            inner = codes_names(graph.node, functions, wanted=asked_of(node, graph, names))
            names |= inner - _made(graph)
            # The states of Loop and the inputs of Scan come in by position.
            names |= {a for formal, a in zip(graph.input, node.input, strict=False) if formal.name in inner}
    return names - {""}


def asked_of(node: NodeProto, graph: GraphProto, names: Collection[str]) -> set[str]:
    """Return the outputs of a node's subgraph that reach one of *names*, which are read as codes outside."""
    skipped = 1 if node.op_type == "Loop" else 0  # its body's first output is the condition
    outputs = list(graph.output)[skipped:]
    return {o.name for o, actual in zip(outputs, node.output, strict=False) if actual and actual in names}


def _made(graph: GraphProto) -> set[str]:
    inside = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    return inside | {i.name for i in graph.input} | {o for n in graph.node for o in n.output}
